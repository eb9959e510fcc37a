import { assertEquals, assertInstanceOf, assertStringIncludes, assertThrows } from "../../deps.ts";
import { Exit, ExitError } from "../../../src/base/errors.ts";
import { checkInterfaceName, socketPaths } from "../../../src/bus/socket_file.ts";

Deno.test({
  name: "interface names are letters, digits, dots, underscores and hyphens, at most 50",
  permissions: "none",
  fn() {
    for (const name of ["aws_iot_mqtt", "a", "A.b-c_9", "x".repeat(50)]) checkInterfaceName(name);
    const bad = [
      "",
      ".",
      "..",
      ".a",
      "a..b",
      "a/b",
      "/a",
      "a b",
      "é",
      "a\n",
      "a\0",
      "x".repeat(51),
    ];
    for (const name of bad) {
      const error = assertThrows(() => checkInterfaceName(name), `${JSON.stringify(name)} passed`);
      assertInstanceOf(error, ExitError);
      assertEquals(error.exit, Exit.USAGE);
      assertStringIncludes(error.message, "--interface-name");
      assertEquals(error.message.includes("\n"), false);
    }
  },
});

Deno.test({
  name: "the private folder lies beside the socket, under a name that permission lists can hold",
  permissions: "none",
  fn() {
    assertEquals(socketPaths("/run/greengrass/aws_iot_mqtt"), {
      final: "/run/greengrass/aws_iot_mqtt",
      parent: "/run/greengrass",
      folder: "/run/greengrass/.aws_iot_mqtt",
      lock: "/run/greengrass/.aws_iot_mqtt/lock",
      fresh: "/run/greengrass/.aws_iot_mqtt/s",
    });
    assertEquals(socketPaths("/a").parent, "/");
    assertEquals(socketPaths("/a").folder, "/.a");
    assertEquals(socketPaths("a").parent, ".");
    assertEquals(socketPaths("a").folder, ".a");
  },
});
