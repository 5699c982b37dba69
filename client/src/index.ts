/** The ES module: what `import { ... } from "snorky"` offers. */

export { Class, type ClassBody, type ES5Class } from "./class.js";
export { type ServiceClasses, type ServiceConstructor, Snorky } from "./connection.js";
export {
  ArrayCollection,
  type ArrayCollectionOptions,
  ArrayIterator,
} from "./datasync/array_collection.js";
export { Collection, Iterator } from "./datasync/collection.js";
export {
  CollectionDeltaProcessor,
  type Collections,
  type Delta,
  type DeltaProcessorOptions,
} from "./datasync/delta_processor.js";
export {
  type LiveKey,
  type LiveList,
  type LiveOptions,
  type LiveOrder,
  type LiveRequest,
  type LiveStatus,
  ResponseError,
} from "./datasync/live/options.js";
export { DataSync, type Resync, type TokenParams } from "./datasync/service.js";
export { SingleItemCollection, SingleItemIterator } from "./datasync/single_item_collection.js";
export { ConnectionError, type ConnectionErrorReason } from "./errors.js";
export {
  and,
  Field,
  field,
  type FieldOf,
  fields,
  type Filter,
  type Json,
  not,
  or,
  type ValueOf,
} from "./filters.js";
export type { Disconnection, Host } from "./host.js";
export type { SnorkyOptions, Token, Transport } from "./options.js";
export { RPCService, type RPCServiceClass } from "./rpc.js";
export { Service, type ServiceClass } from "./service.js";
export {
  Chat,
  type ChatMessage,
  type ChatParams,
  type ChatPresence,
  type ChatRead,
} from "./services/chat.js";
export { Cursors } from "./services/cursors.js";
export {
  Cursor,
  type CursorPlace,
  Document,
  type DocumentParams,
  ForeignCursor,
  OwnCursor,
} from "./services/cursors_document.js";
export { Events, type Refusal, type Update, type UpdateCallback } from "./services/events.js";
export { Messaging, type ParticipantMessage } from "./services/messaging.js";
export {
  type ChannelParams,
  type ChannelPresence,
  type MissedMessages,
  type PublishedMessage,
  PubSub,
  type Subscribed,
  type SubscribeParams,
} from "./services/pubsub.js";
export { type Listener, Signal, type SignalBinding, type SignalClass } from "./signal.js";
export type { SocketClass, SocketLike } from "./socket.js";
