// Pub/sub and echo on the Go library Centrifuge, speaking its own JSON protocol.
//
// Set up as _examples/ws_benchmarks/benchmark_gorilla of the library is: the memory broker, default
// options, no log. Publications keep no history, subscriptions no presence; compression is off, its
// default. The pool of write buffers is what Centrifugo's manual advises for memory
// (websocket_use_write_buffer_pool). A client's queue holds 10 MB before it is disconnected, the
// default, and a frame up to four queued messages, which this version does not let one change.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"runtime"

	"github.com/centrifugal/centrifuge"
)

// version of the library, of which it knows nothing itself: set by the linker.
var version string

func connected(client *centrifuge.Client) {
	client.OnSubscribe(func(_ centrifuge.SubscribeEvent, answer centrifuge.SubscribeCallback) {
		answer(centrifuge.SubscribeReply{}, nil)
	})
	client.OnPublish(func(_ centrifuge.PublishEvent, answer centrifuge.PublishCallback) {
		answer(centrifuge.PublishReply{}, nil)
	})
	client.OnRPC(func(call centrifuge.RPCEvent, answer centrifuge.RPCCallback) {
		if call.Method != "echo" {
			answer(centrifuge.RPCReply{}, centrifuge.ErrorMethodNotFound)
			return
		}
		answer(centrifuge.RPCReply{Data: call.Data}, nil)
	})
}

func main() {
	config := centrifuge.DefaultConfig
	config.ClientChannelLimit = 100_000
	node, err := centrifuge.New(config)
	if err != nil {
		log.Fatal(err)
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{UserID: "load"}}, nil
	})
	node.OnConnect(connected)
	if err := node.Run(); err != nil {
		log.Fatal(err)
	}
	http.Handle("/connection/websocket", centrifuge.NewWebsocketHandler(
		node, centrifuge.WebsocketConfig{UseWriteBufferPool: true}))
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT")) // no port is any
	if err != nil {
		log.Fatal(err)
	}
	line, err := json.Marshal(map[string]any{
		"port":     listener.Addr().(*net.TCPAddr).Port,
		"versions": map[string]string{"centrifuge": version, "go": runtime.Version()[2:]},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprintln(os.Stdout, string(line))
	log.Fatal(http.Serve(listener, nil))
}
