import {RPCService, Snorky} from "snorky";

class Identity extends RPCService {}
Identity.addRPCMethods(["refresh"]);

// fetchToken is yours: it asks the web application. Tokens here last for ten minutes.
export async function connect(address, services, fetchToken, {seconds = 300} = {}) {
  let token = await fetchToken();

  class TokenSocket extends WebSocket {
    constructor(address) {
      super(address, ["snorky", `snorky.jwt.${token}`]);
    }
  }

  const snorky = new Snorky(TokenSocket, address, {...services, identity: Identity});
  setInterval(async () => {
    try {
      token = await fetchToken();
      if (snorky.isConnected) await snorky.services.identity.refresh({token});
    } catch (error) {
      console.error("No new token:", error.message);
    }
  }, seconds * 1000);
  return snorky;
}
