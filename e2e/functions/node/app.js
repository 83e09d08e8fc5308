// The function that the conformance tests run in each language, on AWS's Node client.

const text = (base64) => Buffer.from(base64, "base64").toString();

exports.answer = async (event, context) => {
  const headers = {
    function: context.functionName,
    request: context.awsRequestId,
    remaining: String(context.getRemainingTimeInMillis()),
  };
  const records = [];
  for (const record of Object.values(event.records).flat()) {
    let value = text(record.value);
    if (value.includes("poison")) throw new RangeError(`the function does not like \`${value}\``);
    if (value.includes("sleep")) await new Promise((resolve) => setTimeout(resolve, 600_000));
    if (value.includes("exit")) process.exit(7);
    if (value.includes("reject")) {
      Promise.reject(new Error(`nobody waits for \`${value}\``));
      await new Promise((resolve) => setTimeout(resolve, 600_000));
    }
    if (value.includes("timer")) {
      await new Promise(() => setTimeout(() => { throw new TypeError(`too late for \`${value}\``); }, 10));
    }
    if (value.includes("large")) value = "x".repeat(7 << 20);
    if (value.includes("shape")) return { record: [] };
    records.push({ key: text(record.key), value, headers });
  }
  return { records };
};
