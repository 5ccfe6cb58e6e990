// rqlite-js as its README shows it: strings, parameters, transactions, levels, status, errors, a failover.

const assert = require('node:assert/strict')
const readline = require('node:readline')
const { DataApiClient, StatusApiClient } = require('rqlite-js')

const LONE = process.env.QUORLITE_ONE
const THREE = process.env.QUORLITE_THREE.split(',')
const TEXT = `it's "quoted" ünïcödé 😀 <b>&amp;</b>`

const url = (address) => `http://${address}`

// Has the leader killed with -9; done once the other two have a new one.
function killLeader () {
  const lines = readline.createInterface({ input: process.stdin })
  return new Promise((resolve) => {
    lines.once('line', (line) => {
      lines.close()
      process.stdin.destroy()
      assert.equal(line, 'killed')
      resolve()
    })
    console.log('kill leader')
  })
}

async function succeed (promise) {
  const results = await promise
  assert.equal(results.hasError(), false, String(results.getFirstError()))
  return results
}

async function values (client) {
  await succeed(client.execute('CREATE TABLE v (id INTEGER PRIMARY KEY, i INTEGER, r REAL, t TEXT, b BLOB, n TEXT)'))
  const insert = ['INSERT INTO v(i, r, t, b, n) VALUES(?, ?, ?, ?, ?)', 4294967297, 1.5, TEXT, [0, 137, 255], null]
  const inserted = await succeed(client.execute([insert]))
  assert.equal(inserted.get(0).getLastInsertId(), 1)
  assert.equal(inserted.get(0).getRowsAffected(), 1)
  await succeed(client.execute([['INSERT INTO v(i) VALUES(:i)', { i: -5 }]]))
  // JavaScript rounds it while parsing, so it is compared where it is exact.
  await succeed(client.execute('INSERT INTO v(i, r) VALUES(9007199254740993, 3.0)'))
  const rows = (await succeed(client.query('SELECT i, r, t, b, n FROM v ORDER BY id'))).toArray()
  assert.deepEqual(rows[0], { i: 4294967297, r: 1.5, t: TEXT, b: 'AIn/', n: null })
  assert.deepEqual(rows[1], { i: -5, r: null, t: null, b: null, n: null })
  assert.equal(rows[2].r, 3)
  const exact = await succeed(client.query('SELECT CAST(i AS TEXT) AS i FROM v WHERE id = 3'))
  assert.equal(exact.get(0).get('i'), '9007199254740993')
  const found = await succeed(client.query([['SELECT id FROM v WHERE t = ?', TEXT], ['SELECT count(*) AS n FROM v']]))
  assert.deepEqual(found.toArray(), [{ id: 1 }, { n: 3 }])
  // Without rows the client makes one empty result out of the element.
  assert.deepEqual((await succeed(client.query('SELECT id FROM v WHERE id = 9'))).toArray(), [{}])
}

async function quoted (client) {
  await succeed(client.execute('CREATE TABLE foo (id integer not null primary key, name text)'))
  await succeed(client.execute('INSERT INTO foo(name) VALUES("fiona")'))
  const changed = await succeed(client.execute('UPDATE foo SET name="justin" WHERE name="fiona"'))
  assert.equal(changed.get(0).getRowsAffected(), 1)
  assert.equal((await succeed(client.query('SELECT name FROM foo WHERE id="1"'))).get(0).get('name'), 'justin')
}

async function transactions (client) {
  const done = await succeed(client.execute(
    ['INSERT INTO foo(id, name) VALUES(10, "a")', 'INSERT INTO foo(id, name) VALUES(11, "b")'],
    { transaction: true, timings: true },
  ))
  assert.deepEqual([done.get(0).getLastInsertId(), done.get(1).getLastInsertId()], [10, 11])
  assert.ok(done.getTime() > 0)
  const failed = await client.execute(
    ['INSERT INTO foo(id) VALUES(12)', 'INSERT INTO foo(id) VALUES(10)'],
    { transaction: true },
  )
  assert.equal(String(failed.getFirstError().message), 'UNIQUE constraint failed: foo.id')
  assert.equal((await succeed(client.query('SELECT count(*) AS n FROM foo'))).get(0).get('n'), 3)
}

async function levels (client) {
  for (const level of ['none', 'weak', 'linearizable', 'strong']) {
    const results = await succeed(client.query(['SELECT 1 AS one', 'SELECT 2 AS two'], { level, pretty: true }))
    assert.deepEqual(results.toArray(), [{ one: 1 }, { two: 2 }], level)
  }
}

async function errors (client) {
  const results = await client.query('SELECT * FROM nowhere')
  assert.equal(results.getFirstError().message, 'no such table: nowhere')
  const { status, body } = await client.execute('INSERT INTO nowhere VALUES(1)', { raw: true })
  assert.equal(status, 200)
  assert.deepEqual(body, { results: [{ error: 'no such table: nowhere' }] })
  await assert.rejects(client.execute([[1]], { retries: 0 }), (error) => error.response.status === 400)
}

async function status (addresses) {
  const all = await new StatusApiClient(addresses.map(url)).statusAllHosts()
  for (const { response } of all) {
    assert.equal(typeof response.body.store.leader.node_id, 'string')
  }
}

async function failover (addresses) {
  const client = new DataApiClient(addresses.map(url))
  await killLeader()
  await succeed(client.execute([['INSERT INTO foo(id, name) VALUES(?, ?)', 20, 'after']]))
  const results = await succeed(client.query('SELECT name FROM foo WHERE id = 20', { level: 'strong' }))
  assert.equal(results.get(0).get('name'), 'after')
}

async function main () {
  for (const addresses of [[LONE], [THREE[1]]]) {
    const client = new DataApiClient(addresses.map(url))
    await values(client)
    await quoted(client)
    await transactions(client)
    await levels(client)
    await errors(client)
    await status(addresses)
  }
  await status(THREE)
  await failover(THREE)
}

main().catch((error) => {
  console.error(error)
  process.exitCode = 1
})
