// Transactions of Couchbase's SDK: node transactions.js CONNECTION_STRING USER PASSWORD
'use strict'

const assert = require('node:assert/strict')
const couchbase = require('couchbase')
const { check, finish } = require('./checks')

const [address, username, password] = process.argv.slice(2)
const ACCOUNTS = 4
const ROUNDS = 5
const MONEY = 100

const clusters = []
let cluster
let collections

const connect = async (timeout) => {
  const connected = await couchbase.connect(address, { username, password, transactions: { timeout } })
  clusters.push(connected)
  return connected
}

const rejects = (promise, kind, pattern) =>
  assert.rejects(promise, (error) => {
    assert.ok(error instanceof kind, `${error.name}: ${error.message}`)
    if (pattern) assert.match(`${error.message} ${error.cause && error.cause.message}`, pattern)
    return true
  })

const content = async (collection, key) => (await collection.get(key)).content
const exists = async (collection, key) => (await collection.exists(key)).exists
const state = async (collection) =>
  [await exists(collection, 'new'), (await content(collection, 'kept')).n, await exists(collection, 'removed')]

const prepare = async () => {
  for (const collection of collections) {
    if (await exists(collection, 'new')) await collection.remove('new')
    await collection.upsert('kept', { n: 1 })
    await collection.upsert('removed', { n: 1 })
  }
}

const work = async (attempt, collection) => {
  await attempt.insert(collection, 'new', { n: 1 })
  await attempt.replace(await attempt.get(collection, 'kept'), { n: 2 })
  await attempt.remove(await attempt.get(collection, 'removed'))
}

check('connect', async () => {
  cluster = await connect(20_000)
  const bucket = cluster.bucket('default')
  collections = [bucket.defaultCollection(), bucket.scope('shop').collection('orders'), cluster.bucket('other').defaultCollection()]
})

check('commit', async () => {
  await prepare()
  await cluster.transactions().run(async (attempt) => {
    for (const collection of collections) await work(attempt, collection)
    assert.deepEqual(await state(collections[0]), [false, 1, true])
  })
  for (const collection of collections) assert.deepEqual(await state(collection), [true, 2, false])
})

check('rollback', async () => {
  await prepare()
  for (let round = 0; round < 2; round++) {
    await rejects(cluster.transactions().run(async (attempt) => {
      for (const collection of collections) await work(attempt, collection)
      throw new Error('no')
    }), couchbase.TransactionFailedError, /no/)
    for (const collection of collections) assert.deepEqual(await state(collection), [false, 1, true])
  }
})

check('an insert after a removal', async () => {
  await prepare()
  await cluster.transactions().run(async (attempt) => {
    await attempt.remove(await attempt.get(collections[0], 'removed'))
    await attempt.insert(collections[0], 'removed', { n: 5 })
  })
  assert.deepEqual(await content(collections[0], 'removed'), { n: 5 })
})

check('a conflict', async () => {
  await prepare()
  const seen = []
  const run = () => cluster.transactions().run(async (attempt) => {
    const found = await attempt.get(collections[0], 'kept')
    seen.push(found.content.n)
    if (seen.length === 1) await collections[0].upsert('kept', { n: 10 })
    await attempt.replace(found, { n: found.content.n + 1 })
  })
  await rejects(run(), couchbase.TransactionFailedError, /cas_mismatch/)
  await run()
  assert.deepEqual(seen, [1, 10])
  assert.deepEqual(await content(collections[0], 'kept'), { n: 11 })
})

check('what exists', async () => {
  await prepare()
  await rejects(
    cluster.transactions().run((attempt) => attempt.insert(collections[0], 'kept', {})), couchbase.TransactionFailedError)
  assert.deepEqual(await state(collections[0]), [false, 1, true])
})

check('expiry', async () => {
  await prepare()
  const hasty = await connect(500)
  const collection = hasty.bucket('default').defaultCollection()
  await rejects(hasty.transactions().run(async (attempt) => {
    await attempt.insert(collection, 'new', { n: 1 })
    await new Promise((resolve) => setTimeout(resolve, 600))
    await attempt.insert(collection, 'newer', { n: 1 })
  }), couchbase.TransactionExpiredError)
  assert.deepEqual(await state(collections[0]), [false, 1, true])
})

check('query', async () => {
  const began = Date.now()
  const refused = cluster.transactions().run((attempt) => attempt.query('SELECT 1'))
  await rejects(refused, couchbase.TransactionOperationFailedError)
  assert.ok(Date.now() - began < 5000)
})

check('transfers', async () => {
  const keys = Array.from({ length: ACCOUNTS }, (_, number) => `account-${number}`)
  for (const key of keys) await collections[0].upsert(key, { money: MONEY })
  const move = (connected, source, target) => connected.transactions().run(async (attempt) => {
    const collection = connected.bucket('default').defaultCollection()
    const from = await attempt.get(collection, keys[source % ACCOUNTS])
    const to = await attempt.get(collection, keys[target % ACCOUNTS])
    await attempt.replace(from, { money: from.content.money - 1 })
    await attempt.replace(to, { money: to.content.money + 1 })
  })
  const worker = async (connected, first) => {
    for (let round = 0; round < ROUNDS; round++) {
      const source = first + round
      while (!(await move(connected, source, source + 1 + round % (ACCOUNTS - 1)).then(() => true, () => false)));
    }
  }
  await Promise.all([cluster, await connect(20_000), await connect(20_000)].map(worker))
  const money = await Promise.all(keys.map(async (key) => (await content(collections[0], key)).money))
  assert.equal(money.reduce((sum, each) => sum + each), ACCOUNTS * MONEY)
})

finish(async () => { for (const each of clusters) await each.close() })
