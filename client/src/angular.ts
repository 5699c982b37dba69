/**
 * The AngularJS add-on: load it after angular.js and snorky.js, and let your module need "Snorky".
 *
 * Every signal is dispatched within a digest, and calls return promises of `$q`: what listeners
 * change on a scope is seen. It works for connections made before the application starts, too.
 */

type Digest = (change: () => void) => void;

const { angular, Snorky } = globalThis as any;
if (!angular || !Snorky) {
  throw new Error("angular-snorky.js expects angular.js and snorky.js on the page before it");
}

const withoutDigest: Digest = (change) => change();
const NativePromise = Snorky.Promise;
const Signal = Snorky.Signal;

let digest = withoutDigest;
let $q: any = null;

Snorky.Promise = function (this: unknown, resolver: any) {
  return $q ? $q(resolver) : new NativePromise(resolver);
};
Object.setPrototypeOf(Snorky.Promise, NativePromise);

Snorky.Signal = function (this: any, ...args: unknown[]) {
  Signal.apply(this, args);
  // Signals bind `dispatch` when they are made, so an override on the prototype would not be seen.
  const { dispatch } = this;
  this.dispatch = (...values: unknown[]) => digest(() => dispatch.apply(this, values));
};
Snorky.Signal.prototype = Object.create(Signal.prototype, {
  constructor: { value: Snorky.Signal, writable: true, configurable: true },
});
Object.setPrototypeOf(Snorky.Signal, Signal);

angular
  .module("Snorky", [])
  .constant("Snorky", Snorky)
  .run([
    "$rootScope",
    "$q",
    ($rootScope: any, promises: any) => {
      $q = promises;
      // AngularJS refuses a digest within a digest; the one under way sees the change.
      const own: Digest = (change) => ($rootScope.$$phase ? change() : $rootScope.$apply(change));
      digest = own;
      $rootScope.$on("$destroy", () => {
        if (digest === own) {
          digest = withoutDigest;
          $q = null;
        }
      });
    },
  ]);

export {};
