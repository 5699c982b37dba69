import {ArrayCollection, CollectionDeltaProcessor} from "snorky";

/** An array that stays in order, whatever order the changes come in. */
class SortedCollection extends ArrayCollection {
  constructor(array, compare) {
    super(array);
    this.compare = compare;
  }

  insert(row) {
    const next = this.array.findIndex((other) => this.compare(other, row) > 0);
    this.array.splice(next < 0 ? this.array.length : next, 0, row);
  }

  getIterator() {
    const iterator = super.getIterator();
    iterator.update = (row) => {
      iterator.remove(); // its place may be another now
      this.insert(row);
    };
    return iterator;
  }
}

const dishes = [];
const byName = (one, other) => one.name.localeCompare(other.name);
const processor = new CollectionDeltaProcessor({
  Dish: new SortedCollection(dishes, byName),
});

const tea = {id: 1, name: "Tea"};
const cake = {id: 2, name: "Cake"};
const lateTea = {id: 1, name: "Afternoon tea"};
processor.processDelta({type: "insert", model: "Dish", data: tea});
processor.processDelta({type: "insert", model: "Dish", data: cake});
console.log(dishes.map((dish) => dish.name).join(", "));
processor.processDelta({type: "update", model: "Dish", newData: lateTea, oldData: tea});
console.log(dishes.map((dish) => dish.name).join(", "));
