// What is said in the rooms, kept up with Snorky. Knows nothing of how it is shown.

angular.module("rooms", ["Snorky"]).factory("chat", function(Snorky, $http, $window) {
  var MOST_LINES = 500;
  var LOGGED_OUT = 3500; // the code with which the server ends the connections of a name
  var number = 0;
  var connection = null, service = null;
  var address = new URL("ws", $window.location.href);
  address.protocol = address.protocol.replace("http", "ws");

  var chat = {
    me: null,
    isLive: false,
    rooms: ["Kitchen", "Garden", "Library"].map(function(name) {
      return {name: name, isJoined: false, members: [], lines: [], unread: 0, firstNew: null};
    }),

    logIn: function(name) {
      return $http.post("visitor", {name: name}).then(function(answer) { enter(answer.data.name); });
    },

    logOut: function() {
      connection.disconnect();
      return $http.delete("visitor").then(exit, function(error) {
        connection.connect();
        throw error;
      });
    },

    // Whether the cookie of a former visit is still good.
    remember: function() {
      return $http.get("visitor").then(function(answer) {
        if (answer.data.name === null) exit();
        else enter(answer.data.name);
      });
    },

    join: function(room) {
      return service.join({channel: room.name}).then(function(answer) {
        room.isJoined = true;
        room.members = answer.members;
      });
    },

    leave: function(room) {
      return service.leave({channel: room.name}).then(function() { empty(room); });
    },

    send: function(room, text) {
      return service.send({channel: room.name, body: text});
    },

    // Everything in the room has been seen, here; our other windows are told.
    read: function(room) {
      if (room.unread === 0) return;
      forget(room);
      service.read({channel: room.name}).catch(ignore); // cut off: they will see it themselves
    }
  };
  return chat;

  function enter(name) {
    if (connection === null) {
      connection = new Snorky(WebSocket, address.href, {chat: Snorky.Chat});
      service = connection.services.chat;
      connection.connected.add(connected);
      connection.disconnected.add(disconnected);
      service.messageReceived.add(messageReceived);
      service.presenceReceived.add(presenceReceived);
      service.readReceived.add(readReceived);
    } else {
      connection.connect();
    }
    chat.me = name;
  }

  function exit() {
    if (connection !== null) connection.disconnect();
    chat.me = null;
    chat.isLive = false;
    chat.rooms.forEach(empty);
  }

  function empty(room) {
    angular.extend(room, {isJoined: false, members: [], lines: [], unread: 0, firstNew: null});
  }

  // Memberships end with the connection.
  function connected() {
    chat.isLive = true;
    chat.rooms.forEach(function(room) {
      if (room.isJoined) chat.join(room).catch(ignore); // cut off again: the next one joins
    });
  }

  // Was it the network, or are we logged out, perhaps in another window?
  function disconnected(disconnection) {
    chat.isLive = false;
    if (chat.me === null) return;
    $http.get("visitor").then(function(answer) {
      if (answer.data.name !== chat.me) exit();
      else if (disconnection.code === LOGGED_OUT) connection.connect(); // somebody else, of our name
    }).catch(ignore); // no answer: it was the network
  }

  function messageReceived(message) {
    var room = find(message.channel), isMine = message.from === chat.me;
    add(room, isMine ? "mine" : "theirs", String(message.body), message);
    if (isMine) return;
    if (room.unread++ === 0) room.firstNew = number;
  }

  function presenceReceived(presence) {
    var room = find(presence.channel), hasJoined = presence.status === "joined";
    room.members = room.members.filter(function(member) { return member !== presence.from; });
    if (hasJoined) room.members.push(presence.from);
    add(room, "notice", presence.from + (hasJoined ? " has come in" : " has left"), presence);
  }

  function readReceived(read) {
    forget(find(read.channel));
  }

  function forget(room) {
    room.unread = 0;
    room.firstNew = null;
  }

  function add(room, kind, text, notification) {
    room.lines.push({
      number: ++number, kind: kind, from: notification.from, text: text, time: notification.timestamp
    });
    if (room.lines.length > MOST_LINES) room.lines.shift();
  }

  function find(name) {
    return chat.rooms.filter(function(room) { return room.name === name; })[0];
  }

  function ignore() {}
});
