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
}

export type SocketClass = new (address: string, protocols?: any) => SocketLike;
