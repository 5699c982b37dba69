/*! Snorky 1.0.0-dev.0 | MPL-2.0 */
"use strict";
(() => {
  // src/angular.ts
  var { angular, Snorky } = globalThis;
  if (!angular || !Snorky) {
    throw new Error("angular-snorky.js expects angular.js and snorky.js on the page before it");
  }
  var withoutDigest = (change) => change();
  var NativePromise = Snorky.Promise;
  var Signal = Snorky.Signal;
  var digest = withoutDigest;
  var $q = null;
  Snorky.Promise = function(resolver) {
    return $q ? $q(resolver) : new NativePromise(resolver);
  };
  Object.setPrototypeOf(Snorky.Promise, NativePromise);
  Snorky.Signal = function(...args) {
    Signal.apply(this, args);
    const { dispatch } = this;
    this.dispatch = (...values) => digest(() => dispatch.apply(this, values));
  };
  Snorky.Signal.prototype = Object.create(Signal.prototype, {
    constructor: { value: Snorky.Signal, writable: true, configurable: true }
  });
  Object.setPrototypeOf(Snorky.Signal, Signal);
  angular.module("Snorky", []).constant("Snorky", Snorky).run([
    "$rootScope",
    "$q",
    ($rootScope, promises) => {
      $q = promises;
      const own = (change) => $rootScope.$$phase ? change() : $rootScope.$apply(change);
      digest = own;
      $rootScope.$on("$destroy", () => {
        if (digest === own) {
          digest = withoutDigest;
          $q = null;
        }
      });
    }
  ]);
})();
