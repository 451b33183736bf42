// memjs: node memjs.js HOST:PORT [USER PASSWORD]
'use strict'

const assert = require('node:assert/strict')
const { Client } = require('memjs')
const { check, eventually, finish } = require('./checks')

const [server, username, password] = process.argv.slice(2)
// What it logs of errors is in the errors.
const quiet = { log() {} }

function connect(options = {}) {
  return Client.create(server, { username, password, timeout: 10, retries: 1, logger: quiet, ...options })
}

const client = connect()

async function text(key) {
  const { value } = await client.get(key)
  return value === null ? null : value.toString()
}

function statistics(group) {
  return new Promise((resolve, reject) => {
    client.statsWithKey(group, (error, from, found) => (error ? reject(error) : resolve({ from, found })))
  })
}

check('set and get', async () => {
  assert.equal(await client.set('k', 'value'), true)
  const { value, flags } = await client.get('k')
  assert.equal(value.toString(), 'value')
  assert.equal(flags.readUInt32BE(0), 0)
  assert.equal(await text('none'), null)
})

check('bytes, and large values', async () => {
  const value = Buffer.alloc(3_000_000, Buffer.from([0, 255, 10, 13]))
  await client.set('large', value)
  assert.ok((await client.get('large')).value.equals(value))
  await client.set('empty', '')
  assert.equal(await text('empty'), '')
  await client.set('ключ', 'é')
  assert.equal(await text('ключ'), 'é')
})

check('add', async () => {
  assert.equal(await client.add('added', '1'), true)
  assert.equal(await client.add('added', '2'), false)
  assert.equal(await text('added'), '1')
})

check('replace', async () => {
  assert.equal(await client.replace('added', '3'), true)
  assert.equal(await client.replace('none', '3'), false)
  assert.equal(await text('added'), '3')
})

check('delete', async () => {
  assert.equal(await client.delete('added'), true)
  assert.equal(await client.delete('added'), false)
  assert.equal(await text('added'), null)
})

check('increment', async () => {
  assert.deepEqual(await client.increment('n', 5, { initial: 10 }), { success: true, value: 10 })
  assert.deepEqual(await client.increment('n', 5), { success: true, value: 15 })
  assert.equal(await text('n'), '15')
  await client.set('word', 'text')
  await assert.rejects(client.increment('word', 1), /non-numeric/)
})

check('decrement', async () => {
  assert.deepEqual(await client.decrement('n', 4, {}), { success: true, value: 11 })
  assert.deepEqual(await client.decrement('n', 100, {}), { success: true, value: 0 })
})

check('append and prepend', async () => {
  await client.set('s', 'b')
  assert.equal(await client.append('s', 'c'), true)
  assert.equal(await client.prepend('s', 'a'), true)
  assert.equal(await text('s'), 'bca') // memjs 1.3.2 sends APPEND for it
  await assert.rejects(client.append('none', 'x'), /not stored/)
  await assert.rejects(client.prepend('none', 'x'), /not stored/)
})

check('touch', async () => {
  assert.equal(await client.touch('s', 1000), true)
  assert.equal(await client.touch('none', 1000), false)
  assert.equal(await client.touch('s', 1), true)
  await eventually(async () => (await text('s')) === null)
})

check('expiry', async () => {
  await client.set('short', 'lived', { expires: 1 })
  assert.equal(await text('short'), 'lived')
  await eventually(async () => (await text('short')) === null)
})

check('many at once', async () => {
  const keys = Array.from({ length: 500 }, (_, number) => `many${number}`)
  await Promise.all(keys.map((key) => client.set(key, key)))
  assert.deepEqual(await Promise.all(keys.map(text)), keys)
})

check('stats, and the version among them', async () => {
  const { from, found } = await statistics('')
  assert.equal(from, server)
  assert.ok(Number(found.curr_items) > 500)
  assert.match(found.version, /^\d+\.\d+/)
  assert.equal((await statistics('settings')).found.cas_enabled, 'yes')
  assert.deepEqual((await statistics('reset')).found, {})
})

check('flush', async () => {
  assert.deepEqual(await client.flush(), { [server]: true })
  assert.equal(await text('many1'), null)
})

if (username) {
  check('a wrong password', async () => {
    const other = connect({ password: `not ${password}` })
    await assert.rejects(other.get('k'), (error) => /authentication failed/.test(error))
  })

  check('no password', async () => {
    const other = connect({ username: undefined, password: undefined })
    await assert.rejects(other.get('k'), (error) => /authentication failed/.test(error))
  })
}

finish(() => client.quit())
