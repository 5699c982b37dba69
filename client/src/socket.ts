/** What we use of a WebSocket, a SockJS connection or anything else with their interface. */
export interface SocketLike {
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(text: string): void;
  close(): void;
  readonly protocol?: string;
  readonly bufferedAmount?: number;
  /** Above 1: it is closing, or closed. */
  readonly readyState?: number;
  /** @internal Of those that send it with each request: a new one may take its place. */
  _token?: string;
}

export type SocketClass = new (address: string, protocols?: any) => SocketLike;
