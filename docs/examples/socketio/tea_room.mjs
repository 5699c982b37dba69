import {io} from "socket.io-client";

const socket = io("http://127.0.0.1:5001", {path: "/rooms/parlour"});

socket.on("message", message => console.log(message));
socket.on("connect_error", error => console.log(error.message));
socket.send({text: "Some tea?"});
