/** The names pages use where there is only the global `Snorky`: `Snorky.PubSub` and so on. */

import "./comet.js";
import { Snorky } from "./connection.js";
import "./datasync/statics.js";
import { DataSync } from "./datasync/service.js";
import { ConnectionError } from "./errors.js";
import { RPCService } from "./rpc.js";
import { Service } from "./service.js";
import { Chat } from "./services/chat.js";
import { Cursors } from "./services/cursors.js";
import { Events } from "./services/events.js";
import { Messaging } from "./services/messaging.js";
import { PubSub } from "./services/pubsub.js";

const parts = {
  Chat,
  ConnectionError,
  Cursors,
  DataSync,
  Events,
  Messaging,
  PubSub,
  RPCService,
  Service,
};

Object.assign(Snorky, parts);

type Parts = typeof parts;

declare module "./connection.js" {
  namespace Snorky {
    let Chat: Parts["Chat"];
    let ConnectionError: Parts["ConnectionError"];
    let Cursors: Parts["Cursors"];
    let DataSync: Parts["DataSync"];
    let Events: Parts["Events"];
    let Messaging: Parts["Messaging"];
    let PubSub: Parts["PubSub"];
    let RPCService: Parts["RPCService"];
    let Service: Parts["Service"];
  }
}
