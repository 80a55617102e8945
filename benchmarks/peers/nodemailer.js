// nodemailer.js LETTER.json FOLDER PORT COUNT CONNECTIONS
// The whole job with nodemailer's pool: rows read from SQLite (WAL, synchronous NORMAL), each letter filled in, sent and
// recorded by its own UPDATE. The pool is kept fed with twice as many letters as it has connections.
// Prints {"seconds": ..., "sent": ...}. Run it where node_modules holds nodemailer and better-sqlite3.
const fs = require('fs');
const path = require('path');
const { createRequire } = require('module');
const here = createRequire(path.join(process.cwd(), 'package.json'));
const nodemailer = here('nodemailer');
const Database = here('better-sqlite3');

const [letterFile, folder, ...numbers] = process.argv.slice(2);
const [port, count, connections] = numbers.map(Number);
const letter = JSON.parse(fs.readFileSync(letterFile, 'utf8'));

const db = new Database(path.join(folder, 'nodemailer.sqlite3'));
db.pragma('journal_mode = WAL');
db.pragma('synchronous = NORMAL');
db.exec("CREATE TABLE letters (id INTEGER PRIMARY KEY, email TEXT, data TEXT, state TEXT DEFAULT 'queued', reply TEXT, at TEXT)");
const add = db.prepare('INSERT INTO letters (id, email, data) VALUES (?, ?, ?)');
db.transaction(() => {
  for (let id = 1; id <= count; id++) {
    const code = String(id).padStart(8, '0');
    const data = { first_name: 'Åsa' + id, last_name: 'Lindström', link: 'https://acme.example/invite?ref=' + code, code, campaign: 'Spring referrals', company: 'Acme AB' };
    add.run(id, `p${id}@example.com`, JSON.stringify(data));
  }
})();
const due = db.prepare("SELECT id, email, data FROM letters WHERE state = 'queued' ORDER BY id");
const record = db.prepare("UPDATE letters SET state = 'sent', reply = ?, at = datetime() WHERE id = ?");
const fill = (template, values) => template.replace(/\{\{ (\w+) \}\}/g, (_, name) => values[name]);

async function main() {
  const pool = nodemailer.createTransport({
    host: '127.0.0.1', port, pool: true, maxConnections: connections, maxMessages: Infinity, ignoreTLS: true, name: 'bench.example',
  });
  const start = process.hrtime.bigint();
  const rows = due.all();
  let next = 0;
  const lane = async () => {
    while (next < rows.length) {
      const { id, email, data } = rows[next++];
      const values = JSON.parse(data);
      const sent = await pool.sendMail({
        from: 'Owner <owner@acme.example>',
        to: { name: `${values.first_name} ${values.last_name}`, address: email },
        subject: fill(letter.subject, values),
        text: fill(letter.text, values),
        html: fill(letter.html, values),
      });
      record.run(sent.response, id);
    }
  };
  await Promise.all(Array.from({ length: connections * 2 }, lane));
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  const sent = db.prepare("SELECT count(*) AS n FROM letters WHERE state = 'sent'").get().n;
  pool.close();
  console.log(JSON.stringify({ seconds, sent }));
}

main();
