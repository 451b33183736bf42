// memcached, of Node: node memcached.js HOST:PORT
'use strict'

const assert = require('node:assert/strict')
const Memcached = require('memcached')
const { check, finish } = require('./checks')

const client = new Memcached(process.argv[2], { timeout: 20000, retries: 0 })

/** Call a method that takes a callback. */
function ask(method, ...args) {
  return new Promise((resolve, reject) => {
    client[method](...args, (error, found) => (error ? reject(error) : resolve(found)))
  })
}

check('kinds of values', async () => {
  for (const value of ['text', 'é', 5, true, { a: [1, null] }, Buffer.from([0, 255, 13, 10]), 'x'.repeat(900_000)]) {
    assert.equal(await ask('set', 'k', value, 1000), true)
    assert.deepEqual(await ask('get', 'k'), value)
  }
  assert.equal(await ask('get', 'none'), undefined)
})

check('add, replace, append, prepend, del', async () => {
  await assert.rejects(ask('add', 'k', 'again', 0))
  await ask('add', 'new', 'b', 0)
  await ask('replace', 'new', 'B', 0)
  await assert.rejects(ask('replace', 'none', 'x', 0))
  await ask('append', 'new', 'c')
  await ask('prepend', 'new', 'a')
  assert.equal(await ask('get', 'new'), 'aBc')
  assert.equal(await ask('touch', 'new', 1000), true)
  assert.equal(await ask('del', 'new'), true)
  assert.equal(await ask('del', 'new'), false)
})

check('cas', async () => {
  await ask('set', 'k', 'first', 0)
  const { k, cas } = await ask('gets', 'k')
  assert.equal(k, 'first')
  assert.equal(await ask('cas', 'k', 'second', cas, 0), true)
  assert.equal(await ask('cas', 'k', 'stale', cas, 0), false)
})

check('counters', async () => {
  await ask('set', 'n', 5, 0)
  assert.equal(await ask('incr', 'n', 3), 8)
  assert.equal(await ask('decr', 'n', 100), 0)
  assert.equal(await ask('incr', 'none', 1), false)
})

check('many keys', async () => {
  const keys = Array.from({ length: 200 }, (_, number) => `k${number}`)
  await Promise.all(keys.map((key) => ask('set', key, { key }, 0)))
  const found = await ask('getMulti', [...keys, 'none'])
  assert.deepEqual(found, Object.fromEntries(keys.map((key) => [key, { key }])))
  await ask('set', 'k'.repeat(300), 'hashed', 0)
  assert.equal(await ask('get', 'k'.repeat(300)), 'hashed')
})

check('statistics', async () => {
  const [found] = await ask('stats')
  assert.ok(found.curr_items >= 200)
  const [{ version }] = await ask('version')
  assert.equal(version, found.version)
  const [settings] = await ask('settings')
  assert.equal(settings.cas_enabled, 'yes')
  await ask('slabs')
  await ask('items')
})

check('flush', async () => {
  await ask('flush')
  assert.equal(await ask('get', 'k1'), undefined)
})

finish(() => client.end())
