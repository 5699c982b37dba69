class Calculator extends Snorky.RPCService {}
Calculator.addRPCMethods(["sum", "log"]);

const snorky = new Snorky(WebSocket, "ws://localhost:5001/ws", {calculator: Calculator});
const calculator = snorky.services.calculator;

calculator.sum({number1: 1, number2: 2}).then(result => console.log(result));
calculator.log({number: -1}).catch(error => console.log(error.message));
