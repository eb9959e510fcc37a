/** Serves one Unix socket and answers each client once, with nothing else in it: the baseline of starting. `SOCKET ANSWER_HEX` */
const [path = "", answerHex = ""] = Deno.args;
const answer = Uint8Array.fromHex(answerHex);
for await (const conn of Deno.listen({ transport: "unix", path })) {
  void conn.read(new Uint8Array(4096)).then(() => conn.write(answer)).then(() => conn.close());
}
