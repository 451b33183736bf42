// The managers of Couchbase's SDK: node managers.js CONNECTION_STRING USER PASSWORD
'use strict'

const assert = require('node:assert/strict')
const couchbase = require('couchbase')
const { check, finish } = require('./checks')

const [address, username, password] = process.argv.slice(2)

let cluster
let buckets
let collections

const rejects = (promise, kind) =>
  assert.rejects(promise, (error) => {
    assert.ok(error instanceof kind, `${error.name}: ${error.message}`)
    return true
  })

const names = async () => (await buckets.getAllBuckets()).map(({ name }) => name).sort()
const scopes = async () =>
  Object.fromEntries((await collections.getAllScopes()).map(({ name, collections: found }) =>
    [name, Object.fromEntries(found.map((each) => [each.name, each.maxExpiry ?? 0]))]))

check('ping', async () => {
  cluster = await couchbase.connect(address, { username, password })
  buckets = cluster.buckets()
  const { services } = await cluster.ping()
  assert.deepEqual(services.mgmt.map(({ state }) => state), [couchbase.PingState.Ok])
  assert.equal(services.kv[0].state, couchbase.PingState.Ok)
})

check('buckets', async () => {
  await buckets.createBucket({ name: 'shop', ramQuotaMB: 100, bucketType: couchbase.BucketType.Couchbase })
  assert.deepEqual(await names(), ['default', 'shop'])
  await rejects(buckets.createBucket({ name: 'shop', ramQuotaMB: 100 }), couchbase.BucketExistsError)
  const found = await buckets.getBucket('shop')
  assert.deepEqual([found.ramQuotaMB, found.flushEnabled, found.numReplicas], [100, false, 0])
  const collection = cluster.bucket('shop').defaultCollection()
  await collection.upsert('k', 1)
  await rejects(buckets.flushBucket('shop'), couchbase.BucketNotFlushableError)
  await buckets.updateBucket({ ...found, flushEnabled: true })
  assert.equal((await buckets.getBucket('shop')).flushEnabled, true)
  await buckets.flushBucket('shop')
  assert.equal((await collection.exists('k')).exists, false)
  await rejects(buckets.getBucket('none'), couchbase.BucketNotFoundError)
  await rejects(buckets.createBucket({ name: 'two', ramQuotaMB: 100, numReplicas: 2 }), couchbase.InvalidArgumentError)
})

check('scopes and collections', async () => {
  collections = cluster.bucket('shop').collections()
  await collections.createScope('sales')
  await rejects(collections.createScope('sales'), couchbase.ScopeExistsError)
  await collections.createCollection('orders', 'sales')
  await collections.createCollection('carts', 'sales', { maxExpiry: 60 })
  await rejects(collections.createCollection('orders', 'sales'), couchbase.CollectionExistsError)
  await rejects(collections.createCollection('orders', 'none'), couchbase.ScopeNotFoundError)
  assert.deepEqual((await scopes()).sales, { orders: 0, carts: 60 })
  await collections.updateCollection('orders', 'sales', { maxExpiry: 90 })
  assert.deepEqual((await scopes()).sales, { orders: 90, carts: 60 })
  const orders = cluster.bucket('shop').scope('sales').collection('orders')
  await orders.upsert('1', { total: 12 })
  assert.deepEqual((await orders.get('1')).content, { total: 12 })
  await collections.dropCollection('carts', 'sales')
  await rejects(collections.dropCollection('carts', 'sales'), couchbase.CollectionNotFoundError)
  await collections.dropScope('sales')
  await rejects(collections.dropScope('sales'), couchbase.ScopeNotFoundError)
  assert.deepEqual(Object.keys(await scopes()), ['_default'])
})

check('what is not here', async () => {
  await rejects(cluster.query('SELECT 1'), couchbase.ServiceNotAvailableError)
  await rejects(cluster.queryIndexes().getAllIndexes('shop'), couchbase.ServiceNotAvailableError)
  await rejects(cluster.searchIndexes().getAllIndexes(), couchbase.ServiceNotAvailableError)
  await assert.rejects(cluster.users().getAllUsers())
})

check('deleting', async () => {
  await buckets.dropBucket('shop')
  await rejects(buckets.dropBucket('shop'), couchbase.BucketNotFoundError)
  assert.deepEqual(await names(), ['default'])
})

finish(() => cluster.close())
