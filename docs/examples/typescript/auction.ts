import { DataSync, RPCService, Snorky } from "snorky";

export interface Lot {
  id: number;
  title: string;
  highest: number;
}

/** What the service tells by itself: its `type` says which of them it is. */
type Notification =
  | { type: "bid"; lot: number; amount: number; who: string }
  | { type: "sold"; lot: number; amount: number };

/** The commands, with what they take and answer. The code comes from addRPCMethods. */
export interface Auction {
  bid(params: { lot: number; amount: number }): Promise<boolean>;
  lots(): Promise<Lot[]>;
}
export class Auction extends RPCService {
  onNotification(handle: (notification: Notification) => void) {
    return this.notificationReceived.add(handle);
  }
}
Auction.addRPCMethods(["bid", "lots"]);

const snorky = new Snorky(WebSocket, "ws://localhost:5001/ws", {
  auction: Auction,
  datasync: DataSync,
});
const { auction, datasync } = snorky.services; // an Auction, and a DataSync

export async function outbid(lot: Lot): Promise<string> {
  const leads = await auction.bid({ lot: lot.id, amount: lot.highest + 1 });
  return leads ? "You lead" : "Somebody was quicker";
}

auction.onNotification((notification) => {
  if (notification.type === "bid") console.log(`${notification.who}: ${notification.amount}`);
  else console.log(`Sold for ${notification.amount}`);
});

export const lots = datasync.live<Lot>({ url: "/api/lots/", order: "title" });
export const total = (): number => lots.items.reduce((sum, lot) => sum + lot.highest, 0);
