/** An address with one parameter more, which needs no escaping; without a value the same. */
export function withQuery(address: string, name: string, value: string | number | undefined) {
  return value ? `${address}${address.includes("?") ? "&" : "?"}${name}=${value}` : address;
}
