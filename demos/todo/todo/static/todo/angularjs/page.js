/**
 * The page with AngularJS: shows the list and hands on what the user does. The page itself is the
 * template angularjs.html.
 *
 * The signals of Snorky, and with them the list, bring a digest. Promises of others do not: `$q.when`
 * makes them into such that do.
 */

import { flashChanges, passFocusOn } from "../rows.js";
import { FILTERS, list, STATUS_TEXTS, view } from "../todos.js";
import { RowController } from "./row.js";

function PageController(list, $q, $scope, $timeout, $window) {
  this.list = list;
  this.filters = FILTERS;
  this.statusTexts = STATUS_TEXTS;
  this.title = "";

  const look = () => {
    this.view = view(list.items, $window.location.hash);
  };
  $scope.$watchCollection(() => list.items, look);
  $window.addEventListener("hashchange", () => $scope.$apply(look));

  this.add = () => {
    const { title } = this;
    if (!title) return;
    this.title = "";
    $q.when(list.add(title)).then((added) => {
      if (!added && !this.title) this.title = title;
    });
  };

  this.changeAll = ($event) => {
    $event.preventDefault(); // checked is what the list says
    $timeout(() => list.changeAll(!this.view.areAllCompleted)); // as in row.js
  };
}

angular
  .module("todo", ["Snorky"])
  .value("list", list)
  .controller("PageController", PageController)
  .controller("RowController", RowController)

  .directive("flashChanges", ($timeout) => (scope, element, attributes) => {
    scope.$watchCollection(attributes.flashChanges, (todos) => {
      if (todos) $timeout(() => flashChanges(element[0], todos), 0, false);
    });
  })

  .directive("passFocusOn", () => (scope, element) => {
    element.on("$destroy", () => passFocusOn(element[0]));
  })

  .directive("focusWhen", () => (scope, element, attributes) => {
    scope.$watch(attributes.focusWhen, (isWanted) => {
      if (!isWanted) return;
      element[0].focus();
      element[0].select?.();
    });
  });
