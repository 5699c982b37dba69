// What is shown, and what the visitor does.

angular.module("rooms")
  .controller("RoomsController", function(chat, $document, $scope) {
    var page = this;
    var document = $document[0];
    page.chat = chat;
    page.room = null;
    page.name = page.draft = page.fault = "";
    page.newFrom = null; // the line that was the first unread one when the room came into view
    page.isKnown = false; // whether we know who it is: only then we ask

    chat.remember().catch(showFault).finally(function() { page.isKnown = true; });

    page.logIn = function() {
      chat.logIn(page.name).then(forgetFault, showFault);
    };

    page.logOut = function() {
      chat.logOut().then(forgetFault, showFault);
      page.room = null;
    };

    page.open = function(room) {
      page.room = room;
      page.newFrom = room.firstNew;
      page.draft = "";
      if (room.isJoined) forgetFault();
      else chat.join(room).then(forgetFault, showFault);
    };

    page.leave = function() {
      chat.leave(page.room).then(forgetFault, showFault);
      page.room = null;
    };

    page.send = function() {
      chat.send(page.room, page.draft).then(function() {
        page.draft = "";
        forgetFault();
      }, showFault);
    };

    // What is in view has been read: when it comes, when the room is opened, when the window is.
    $scope.$watch(function() {
      return page.room && page.room.unread && !document.hidden;
    }, function(isInView) {
      if (isInView) chat.read(page.room);
    });
    document.addEventListener("visibilitychange", function() {
      if (page.room && !document.hidden) page.newFrom = page.room.firstNew;
      $scope.$applyAsync();
    });

    $scope.$watch(function() {
      return chat.rooms.reduce(function(sum, room) { return sum + room.unread; }, 0);
    }, function(unread) {
      document.title = unread ? "(" + unread + ") Rooms" : "Rooms";
    });

    function showFault(error) {
      page.fault = error.message || error.data && error.data.error || "The server does not answer.";
    }

    function forgetFault() {
      page.fault = "";
    }
  })

  // Keeps the last of the lines in view.
  .directive("stayAtEnd", function($timeout) {
    return function(scope, element, attributes) {
      scope.$watchCollection(attributes.stayAtEnd, function() {
        $timeout(function() { element[0].scrollTop = element[0].scrollHeight; }, 0, false);
      });
    };
  });
