// A function that streams its answer, on AWS's Node client: a piece for each record, and the words
// that `stream` (in Rust) knows go wrong in the middle of it.

const text = (base64) => Buffer.from(base64, "base64").toString();
const pause = () => new Promise((resolve) => setTimeout(resolve, 20));

exports.answer = awslambda.streamifyResponse(async (event, stream) => {
  const records = Object.values(event.records).flat().map((record) => ({ key: text(record.key), value: text(record.value) }));
  const met = (word) => records.find(({ value }) => value.includes(word));
  if (met("prelude")) stream = awslambda.HttpResponseStream.from(stream, { statusCode: 200, headers: {} });
  stream.write('{"records":[');
  await pause();
  for (const [index, record] of records.entries()) {
    stream.write((index ? "," : "") + JSON.stringify(record));
  }
  if (met("poison")) throw new RangeError(`the function does not like \`${met("poison").value}\``);
  if (met("exit")) process.exit(7);
  if (met("destroy")) stream.destroy();
  if (met("large")) stream.write(" ".repeat(7 << 20));
  stream.end("]}");
});
