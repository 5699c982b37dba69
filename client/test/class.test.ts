import { describe, expect, test } from "vitest";
import { Class } from "../src/class.js";

const Animal: any = Class({
  constructor: function (this: any, name: string) {
    this.name = name;
  },
  speak(this: any) {
    return `${this.name} makes a noise`;
  },
  STATIC: { kingdom: "animalia" },
} as any);

describe("a class", () => {
  test("is made with and without new", () => {
    expect(new Animal("Rex").speak()).toBe("Rex makes a noise");
    const Empty = new (Class as any)({ one: () => 1 });
    expect(new Empty().one()).toBe(1);
  });

  test("is its constructor function, so that the name inside means the class", () => {
    const Dog: any = Class(Animal, {
      constructor: function Self(this: any, name: string) {
        (Self as any).Super.call(this, name);
      },
    });
    expect(new Dog("Rex").speak()).toBe("Rex makes a noise");
  });

  test("may have its constructor written as a method", () => {
    const Point: any = Class({
      constructor(this: any, x: number) {
        this.x = x;
      },
    } as any);
    expect(new Point(3).x).toBe(3);
  });

  test("leaves the body it was made from alone", () => {
    const body = { constructor: function () {}, STATIC: { a: 1 } };
    Class(body as any);
    expect(Object.keys(body)).toEqual(["constructor", "STATIC"]);
  });
});

describe("a derived class", () => {
  const Dog: any = Class(Animal, {
    speak(this: any) {
      return `${Dog.Super.prototype.speak.call(this)}: woof`;
    },
  });

  test("inherits constructor, methods and statics", () => {
    expect(new Dog("Rex").name).toBe("Rex");
    expect(new Dog("Rex").speak()).toBe("Rex makes a noise: woof");
    expect(Dog.kingdom).toBe("animalia");
    expect(Dog.Super).toBe(Animal);
  });

  test("keeps instanceof and constructor", () => {
    const rex = new Dog("Rex");
    expect(rex).toBeInstanceOf(Dog);
    expect(rex).toBeInstanceOf(Animal);
    expect(rex.constructor).toBe(Dog);
  });

  test("may be applied to an object made elsewhere", () => {
    function Puppy(this: any) {
      Dog.call(this, "Pup");
    }
    Puppy.prototype = Object.create(Dog.prototype);
    expect(new (Puppy as any)().speak()).toBe("Pup makes a noise: woof");
  });

  test("may be extended by an ES6 class, and extend one", () => {
    class Poodle extends Dog {
      speak() {
        return `${super.speak()}!`;
      }
    }
    const Toy: any = Class(Poodle, { size: "small" });
    expect(new (Poodle as any)("Fifi").speak()).toBe("Fifi makes a noise: woof!");
    expect(new Toy("Fifi").speak()).toBe("Fifi makes a noise: woof!");
    expect(new Toy("Fifi").size).toBe("small");
    expect(Toy.kingdom).toBe("animalia");
  });

  test("has own statics that its base does not see", () => {
    const Cat: any = Class(Animal, { STATIC: { kingdom: "felidae", lives: 9 } });
    expect(Cat.kingdom).toBe("felidae");
    expect(Animal.kingdom).toBe("animalia");
    expect(Animal.lives).toBeUndefined();
  });
});

describe("a mixin", () => {
  const Swims: any = Class({ swim: () => "splash", speak: () => "blub" });

  test("adds what class and base do not have", () => {
    const Duck: any = Class(Animal, Swims, { fly: () => "flap" });
    const duck = new Duck("Donald");
    expect(duck.swim()).toBe("splash");
    expect(duck.fly()).toBe("flap");
    expect(duck.speak()).toBe("Donald makes a noise");
    expect(duck).not.toBeInstanceOf(Swims);
  });

  test("may be an ES6 class, an instance's inherited methods included, or a plain object", () => {
    class Base {
      deep() {
        return "deep";
      }
    }
    class Dives extends Base {
      dive() {
        return "down";
      }
    }
    const Duck: any = Class(Animal, Dives, { quack: () => "quack" }, {});
    const duck = new Duck("Donald");
    expect([duck.deep(), duck.dive(), duck.quack()]).toEqual(["deep", "down", "quack"]);
  });
});
