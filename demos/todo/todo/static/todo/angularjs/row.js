/**
 * One todo on the page: what the user does with it.
 */

export function RowController(list, $element, $q, $scope, $timeout) {
  const field = $element[0].querySelector("[name=title]");
  let isSaving = false;

  this.isEdited = false;
  this.hadFocus = false;
  this.title = "";

  this.toggle = ($event) => {
    $event.preventDefault(); // checked is what the list says
    const { id, completed } = $scope.todo;
    // At its end the browser puts back what the click did, and what we did meanwhile.
    $timeout(() => list.change(id, { completed: !completed }));
  };

  this.delete = () => list.delete($scope.todo.id);

  this.edit = () => {
    this.isEdited = true;
    this.title = $scope.todo.title;
  };

  this.save = () => {
    if (!this.isEdited || isSaving) return;
    const { id, title } = $scope.todo;
    const isSame = this.title === title;
    isSaving = true;
    $q.when(isSame || (this.title ? list.change(id, { title: this.title }) : list.delete(id))).then(
      (saved) => {
        isSaving = false;
        if (saved) close();
      },
    );
  };

  this.keydown = ($event) => {
    if ($event.isComposing) return; // Enter and Escape belong to the input method
    if ($event.key === "Enter") this.save();
    if ($event.key === "Escape") close();
  };

  const close = () => {
    this.hadFocus = document.activeElement === field;
    this.isEdited = false;
  };
}
