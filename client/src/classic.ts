/** The names pages use where there is only the global `Snorky`: `Snorky.PubSub` and so on. */

import { Snorky } from "./connection.js";
import { DataSync } from "./datasync/service.js";
import { ConnectionError } from "./errors.js";
import { RPCService } from "./rpc.js";
import { Service } from "./service.js";
import { PubSub } from "./services/pubsub.js";

const parts = { ConnectionError, DataSync, PubSub, RPCService, Service };

Object.assign(Snorky, parts);

type Parts = typeof parts;

declare module "./connection.js" {
  namespace Snorky {
    let ConnectionError: Parts["ConnectionError"];
    let DataSync: Parts["DataSync"];
    let PubSub: Parts["PubSub"];
    let RPCService: Parts["RPCService"];
    let Service: Parts["Service"];
  }
}
