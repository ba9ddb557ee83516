// A program for tests: runs inside a network namespace, listens and connects as it is told over IPC, and says what it sees.
import { createSocket, type Socket as DatagramSocket } from "node:dgram";
import { connect, createServer, type Socket } from "node:net";

export type Order =
  /** Every connection is greeted with `port;` and echoed. */
  | { readonly do: "listen"; readonly port: number; readonly host: string }
  | { readonly do: "connect"; readonly id: string; readonly host: string; readonly port: number; readonly localPort?: number }
  | { readonly do: "send"; readonly id: string; readonly text: string }
  /** Ends every connection that was accepted on the port. */
  | { readonly do: "hang-up"; readonly port: number }
  | { readonly do: "close"; readonly id: string }
  /** Every datagram is answered with `port;` and its text; one that says "wait" only once "go" has come from anybody. */
  | { readonly do: "answer"; readonly port: number; readonly host: string }
  /** A datagram from the connected socket of this id, made when it is first named. */
  | { readonly do: "ask"; readonly id: string; readonly host: string; readonly port: number; readonly text: string };
export type News =
  | { readonly is: "done"; readonly of: string }
  | { readonly is: "said"; readonly id: string; readonly text: string; readonly localPort: number }
  | { readonly is: "closed"; readonly id: string; readonly error: string };

if (process.send !== undefined) {
  const news = (n: News) => void process.send?.(n);
  const accepted = new Map<number, Set<Socket>>();
  const dialled = new Map<string, Socket>();
  const asking = new Map<string, DatagramSocket>();
  process.on("message", (order: Order) => {
    switch (order.do) {
      case "listen": {
        const sockets = new Set<Socket>();
        accepted.set(order.port, sockets);
        createServer({ noDelay: true }, (socket) => {
          sockets.add(socket);
          socket.on("error", () => undefined).on("close", () => sockets.delete(socket));
          socket.write(`${order.port};`);
          socket.on("data", (d) => socket.write(d));
        }).listen(order.port, order.host, () => news({ is: "done", of: `listen ${order.port}` }));
        return;
      }
      case "connect": {
        const socket = connect({ host: order.host, port: order.port, noDelay: true, ...(order.localPort === undefined ? {} : { localPort: order.localPort }) });
        dialled.set(order.id, socket);
        let error = "";
        socket.setEncoding("utf8");
        socket.on("data", (text: unknown) => news({ is: "said", id: order.id, text: String(text), localPort: socket.localPort ?? 0 }));
        socket.on("error", (e: NodeJS.ErrnoException) => { error = e.code ?? e.message; });
        socket.on("close", () => news({ is: "closed", id: order.id, error }));
        return;
      }
      case "send": return void dialled.get(order.id)?.write(order.text);
      case "hang-up": for (const socket of accepted.get(order.port) ?? []) socket.end(); return;
      case "close": return void dialled.get(order.id)?.end();
      case "answer": {
        const socket = createSocket({ type: order.host.includes(":") ? "udp6" : "udp4" });
        const waiting: (() => void)[] = [];
        socket.on("message", (text, from) => {
          const reply = () => socket.send(`${order.port};${text.toString()}`, from.port, from.address);
          if (text.toString() === "wait") return void waiting.push(reply);
          if (text.toString() === "go") for (const late of waiting.splice(0)) late();
          reply();
        });
        return void socket.bind(order.port, order.host, () => news({ is: "done", of: `answer ${order.port}` }));
      }
      case "ask": {
        const open = asking.get(order.id);
        if (open !== undefined) return void open.send(order.text);
        const socket = createSocket(order.host.includes(":") ? "udp6" : "udp4");
        asking.set(order.id, socket);
        socket.on("message", (text) => news({ is: "said", id: order.id, text: text.toString(), localPort: socket.address().port }));
        socket.on("error", (e: NodeJS.ErrnoException) => news({ is: "closed", id: order.id, error: e.code ?? e.message }));
        return void socket.connect(order.port, order.host, () => socket.send(order.text));
      }
    }
  });
  process.on("disconnect", () => process.exit(0));
  news({ is: "done", of: "start" });
}
