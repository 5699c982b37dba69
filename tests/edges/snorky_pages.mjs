// Pages with our own client: `visit`, `request`, `say`, `text` and `leave`, for `drive`.
//
// They tell `opened`, `ended(code, reason)` and, in the order of arrival, `received(service, message)`.
import { DataSync, PubSub, RPCService, Service, Snorky } from "../../snorky/static/snorky.mjs";
import { write } from "./driver.mjs";
import { inPage } from "./browser.mjs";

const SERVICES = { pubsub: PubSub, datasync: DataSync, desk: RPCService, notebook: Service, identity: RPCService };

/** `socketClassOf(options)`: what pages connect by, with the options of their `visit`. */
export function snorkyPages(socketClassOf) {
  const pages = {};
  const inIt = (name, action) => inPage(pages[name].headers, () => action(pages[name].snorky));

  return {
    visit(name, url, { headers, ...options }) {
      const tell = (event, ...args) => write({ socket: name, event, args });
      const visited = { reconnect: false, ...options, cometAddress: url };
      const open = () => new Snorky(socketClassOf({ headers, ...options }), url, SERVICES, visited);
      const snorky = inPage(headers, open);
      pages[name] = { snorky, headers };
      snorky.connected.add(() => tell("opened"));
      snorky.disconnected.add(({ code, reason }) => tell("ended", code, reason));
      for (const service of Object.values(snorky.services)) {
        service.packetReceived.add((message) => tell("received", service.name, message));
      }
    },
    request: (name, service, command, params) =>
      inIt(name, ({ services }) =>
        services[service][command]
          ? services[service][command](params)
          : services[service].rpcCall(command, params),
      ),
    say: (name, service, message) =>
      inIt(name, (snorky) => void snorky._send({ service, message })),
    // What no page of good manners sends.
    text: (name, text) => inIt(name, (snorky) => void snorky.socket.send(text)),
    transport: (name) => pages[name].snorky.transport,
    leave: (name) => inIt(name, (snorky) => void snorky.disconnect()),
  };
}
