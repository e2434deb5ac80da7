// A codec for quotes whose numbers came as texts, such as {"price": "64,250.10"}: readers get numbers.
//
// It claims the keys that begin with `quotes:`, and mends the fields that {"fields": ["price", ...]} names. Everything else
// in a payload keeps its bytes.

// What is read within the deadline of a codec, with a margin.
const BYTES_MAX = 32 << 10;
const REPAIRS_MAX = 20;
const TO_TEXT = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const TO_BYTES = new TextEncoder();

let fields = ["price", "bid", "ask", "volume", "change"];

const invalid = (text) => ({ tag: "invalid-input", val: text });
const refusal = (code, message) => ({ code, message, path: "$" });

export const lifecycle = {
  describe: () => ({ name: "quoted-numbers", version: "0.1.0" }),

  init(config) {
    const { fields: given = fields, ...unknown } = JSON.parse(TO_TEXT.decode(config));
    for (const name in unknown) throw invalid(`unknown field \`${name}\``);
    const isName = (name) => typeof name === "string" && /^\w+$/.test(name);
    if (!Array.isArray(given) || !given.every(isName)) throw invalid("`fields` must be a list of names");
    fields = given;
  },
};

export const codec = {
  claims: () => [{ pattern: "quotes:*", schema: "quote", schemaVersion: "1.0" }],

  decode(key, payload, flags) {
    if (payload.length > BYTES_MAX) throw refusal("too-large", `more than ${BYTES_MAX} bytes`);
    let text;
    try {
      text = TO_TEXT.decode(payload);
    } catch {
      throw refusal("not-utf8", "the payload is not UTF-8");
    }
    try {
      JSON.parse(text);
    } catch {
      throw refusal("not-json", "the payload is not JSON");
    }
    // In JSON a quote within a text is escaped, so that this finds fields and nothing else. A number with a zero in front
    // is a code, not a number.
    const quoted = new RegExp(
      `("(${fields.join("|")})"\\s*:\\s*)"(-?(?:0|[1-9]\\d{0,2}(?:,\\d{3})+|[1-9]\\d*)(?:\\.\\d+)?)"`,
      "g",
    );
    const repairs = [];
    const mended = text.replace(quoted, (_, before, name, number) => {
      repairs.push({ code: "quoted-number", path: `$..${name}`, message: `"${number}" is written as a text` });
      return before + number.replaceAll(",", "");
    });
    const more = repairs.length - REPAIRS_MAX;
    if (more > 0) {
      const sum = { code: "more-repairs", path: "$", message: `${more} more repairs are not listed` };
      repairs.splice(REPAIRS_MAX, more, sum);
    }
    return { canonical: repairs.length ? TO_BYTES.encode(mended) : undefined, kind: "real", repairs };
  },
};
