/** A block between a BEGIN and an END line [RFC 7468]. */
export interface PemBlock {
  /** Its place among all blocks of the text, 1 for the first. */
  readonly number: number;
  /** What BEGIN names: `CERTIFICATE`. */
  readonly label: string;
  /** It has the header of an encrypted key [RFC 1421, 4.6.1.1]. */
  readonly encrypted: boolean;
  /** What it holds, or what is wrong with it: `has no END line`. */
  readonly content: { readonly base64: string } | { readonly fault: string };
}

/**
 * Finds the blocks in a text as OpenSSL does: whatever stands around them is skipped, lines end in any way, blank lines and
 * headers within a block do not count.
 */
export function readPem(text: string): PemBlock[] {
  const blocks: PemBlock[] = [];
  let open: OpenBlock | undefined;
  const close = (fault?: string): void => {
    if (open === undefined) return;
    const { label, encrypted, base64 } = open;
    const content = fault === undefined ? contentOf(base64) : { fault };
    blocks.push({ number: blocks.length + 1, label, encrypted, content });
    open = undefined;
  };
  for (const line of text.replace(/^\uFEFF/, "").split(/\r\n?|\n/)) {
    const [, edge, label = ""] = /^-----(BEGIN|END) (.+)-----\s*$/.exec(line) ?? [];
    if (edge === "BEGIN") {
      close("has no END line");
      open = { label, encrypted: false, base64: "" };
    } else if (open === undefined) {
      continue;
    } else if (edge === "END") {
      close(label === open.label ? undefined : `ends as ${label}`);
    } else if (line.includes(":")) {
      open.encrypted ||= /^Proc-Type:.*ENCRYPTED/.test(line);
    } else {
      open.base64 += line.trim();
    }
  }
  close("has no END line");
  return blocks;
}

/** A block as PEM of its own, with a newline at its end; `label` stands for the one it had. */
export function writePem(label: string, base64: string): string {
  const lines = base64.match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

interface OpenBlock {
  readonly label: string;
  encrypted: boolean;
  base64: string;
}

function contentOf(base64: string): PemBlock["content"] {
  if (base64 === "") return { fault: "is empty" };
  const valid = /^[A-Za-z0-9+/]+={0,2}$/.test(base64) && base64.length % 4 === 0;
  return valid ? { base64 } : { fault: "is not base64" };
}
