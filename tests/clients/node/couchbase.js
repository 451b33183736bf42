// Couchbase's SDK: node couchbase.js CONNECTION_STRING USER PASSWORD SCOPE COLLECTION [CA]
'use strict'

const assert = require('node:assert/strict')
const couchbase = require('couchbase')
const { check, eventually, finish } = require('./checks')

const { LookupInSpec, MutateInSpec, PrefixScan, RangeScan, SamplingScan, StoreSemantics } = couchbase
const [address, username, password, scopeName, collectionName, ca] = process.argv.slice(2)
const security = ca ? { trustStorePath: ca } : {}
const SHORT = { timeout: 1000 }

let cluster
let bucket
let collection

const rejects = (promise, ...classes) =>
  assert.rejects(promise, (error) => {
    assert.ok(classes.some((kind) => error instanceof kind), `${error.name}: ${error.message}`)
    return true
  })

const content = async (key) => (await collection.get(key)).content
const expiryOf = async (key) => (await collection.get(key, { withExpiry: true })).expiryTime
const now = () => Date.now() / 1000
const ids = async (scan, options) => (await collection.scan(scan, options)).map((result) => result.id)

check('connect', async () => {
  cluster = await couchbase.connect(address, { username, password, security })
  bucket = cluster.bucket('default')
  collection = bucket.scope(scopeName).collection(collectionName)
  for (const key of await ids(new RangeScan(), { idsOnly: true })) await collection.remove(key)
  const { services } = await bucket.ping()
  assert.equal(services.kv[0].state, couchbase.PingState.Ok)
})

check('upsert and get', async () => {
  const value = { text: 'é', list: [1, 2.5, null, true], large: 'again '.repeat(100_000) }
  const { cas } = await collection.upsert('k', value)
  const found = await collection.get('k')
  assert.deepEqual(found.content, value)
  assert.equal(String(found.cas), String(cas))
  await rejects(collection.get('none'), couchbase.DocumentNotFoundError)
})

check('bytes', async () => {
  await collection.upsert('bytes', Buffer.from([0, 255]))
  assert.deepEqual(await content('bytes'), Buffer.from([0, 255]))
})

check('insert', async () => {
  await collection.insert('inserted', 1)
  await rejects(collection.insert('inserted', 2), couchbase.DocumentExistsError)
})

check('replace', async () => {
  const { cas } = await collection.replace('inserted', 2)
  await rejects(collection.replace('none', 2), couchbase.DocumentNotFoundError)
  await collection.replace('inserted', 3, { cas })
  await rejects(collection.replace('inserted', 4, { cas }), couchbase.CasMismatchError)
  assert.equal(await content('inserted'), 3)
})

check('remove', async () => {
  const { cas } = await collection.upsert('removed', 1)
  await collection.upsert('removed', 2)
  await rejects(collection.remove('removed', { cas }), couchbase.CasMismatchError)
  await collection.remove('removed')
  await rejects(collection.remove('removed'), couchbase.DocumentNotFoundError)
})

check('exists', async () => {
  assert.equal((await collection.exists('k')).exists, true)
  assert.equal((await collection.exists('none')).exists, false)
})

check('replicas', async () => {
  assert.equal((await collection.getAnyReplica('inserted')).content, 3)
  assert.deepEqual((await collection.getAllReplicas('inserted')).map((replica) => replica.content), [3])
})

check('expiry', async () => {
  await collection.upsert('e', 1, { expiry: 100 })
  const first = await expiryOf('e')
  assert.ok(Math.abs(first - now() - 100) < 10, String(first))
  await collection.upsert('e', 2, { preserveExpiry: true })
  assert.equal(await expiryOf('e'), first)
  await collection.upsert('e', 3)
  assert.ok(!(await expiryOf('e')))
  await collection.upsert('short', 1, { expiry: 1 })
  await eventually(async () => !(await collection.exists('short')).exists)
})

check('touch', async () => {
  await collection.touch('e', 50)
  assert.ok(Math.abs((await expiryOf('e')) - now() - 50) < 10)
  await rejects(collection.touch('none', 50), couchbase.DocumentNotFoundError)
})

check('getAndTouch', async () => {
  assert.equal((await collection.getAndTouch('e', 200)).content, 3)
  assert.ok(Math.abs((await expiryOf('e')) - now() - 200) < 10)
  await rejects(collection.getAndTouch('none', 50), couchbase.DocumentNotFoundError)
})

check('getAndLock and unlock', async () => {
  // It tries again and again, as long as it may.
  const locked = [couchbase.DocumentLockedError, couchbase.TimeoutError]
  await collection.upsert('l', 1)
  const { cas, content: found } = await collection.getAndLock('l', 20)
  assert.equal(found, 1)
  await rejects(collection.getAndLock('l', 20, SHORT), ...locked)
  await rejects(collection.upsert('l', 2, SHORT), ...locked)
  await collection.unlock('l', cas)
  await rejects(collection.unlock('l', cas), couchbase.DocumentNotLockedError)
  const again = await collection.getAndLock('l', 20)
  await collection.replace('l', 3, { cas: again.cas })
  await collection.upsert('l', 4)
})

check('counters', async () => {
  const binary = collection.binary()
  assert.equal((await binary.increment('n', 1, { initial: 10 })).value, 10)
  assert.equal((await binary.increment('n', 5)).value, 15)
  assert.equal((await binary.decrement('n', 3)).value, 12)
  assert.equal((await binary.decrement('n', 100)).value, 0)
  await rejects(binary.increment('none', 1), couchbase.DocumentNotFoundError)
  await rejects(binary.increment('k', 1), couchbase.DeltaInvalidError)
})

check('append and prepend', async () => {
  const binary = collection.binary()
  await collection.upsert('s', Buffer.from('b'))
  await binary.append('s', Buffer.from('c'))
  await binary.prepend('s', Buffer.from('a'))
  assert.equal((await content('s')).toString(), 'abc')
  await rejects(binary.append('none', 'x'), couchbase.DocumentNotFoundError)
})

check('lookupIn', async () => {
  await collection.upsert('doc', { a: { b: [1, 2, { c: true }] } })
  const { content: found } = await collection.lookupIn('doc', [
    LookupInSpec.get('a.b[2].c'), LookupInSpec.count('a.b'), LookupInSpec.exists('a.z'), LookupInSpec.get('a.z'),
    LookupInSpec.get(LookupInSpec.Expiry), LookupInSpec.get('')
  ])
  assert.deepEqual([0, 1, 2, 4].map((index) => found[index].value), [true, 3, false, 0])
  assert.ok(found[3].error instanceof couchbase.PathNotFoundError)
  assert.deepEqual(found[5].value, { a: { b: [1, 2, { c: true }] } })
  await rejects(collection.lookupIn('none', [LookupInSpec.get('a')]), couchbase.DocumentNotFoundError)
})

check('projections', async () => {
  const { content: found } = await collection.get('doc', { project: ['a.b[0]'] })
  assert.deepEqual(found, { a: { b: [1] } })
})

check('mutateIn', async () => {
  const { content: found, cas } = await collection.mutateIn('doc', [
    MutateInSpec.upsert('u', 1), MutateInSpec.insert('deep.er', 2, { createPath: true }), MutateInSpec.replace('u', 3),
    MutateInSpec.arrayAppend('a.b', 4), MutateInSpec.arrayPrepend('a.b', 0), MutateInSpec.arrayInsert('a.b[1]', 'i'),
    MutateInSpec.arrayAddUnique('list', 1, { createPath: true }), MutateInSpec.increment('n', 5),
    MutateInSpec.decrement('n', 2), MutateInSpec.remove('a.b[3]'),
    MutateInSpec.upsert('x', MutateInSpec.CasPlaceholder, { xattr: true })
  ])
  assert.deepEqual([found[7].value, found[8].value], [5, 3])
  const expected = { a: { b: [0, 'i', 1, { c: true }, 4] }, u: 3, deep: { er: 2 }, list: [1], n: 3 }
  assert.deepEqual(await content('doc'), expected)
  const attribute = await collection.lookupIn('doc', [LookupInSpec.get('x', { xattr: true })])
  assert.match(attribute.content[0].value, /^0x[0-9a-f]{16}$/)
  await rejects(collection.mutateIn('doc', [MutateInSpec.insert('u', 1)]), couchbase.PathExistsError)
  await rejects(collection.mutateIn('doc', [MutateInSpec.replace('zz', 1)]), couchbase.PathNotFoundError)
  await collection.upsert('doc', expected)
  await rejects(collection.mutateIn('doc', [MutateInSpec.upsert('u', 1)], { cas }), couchbase.CasMismatchError)
  const insert = { storeSemantics: StoreSemantics.Insert }
  await collection.mutateIn('made', [MutateInSpec.upsert('a', 1)], insert)
  await rejects(collection.mutateIn('made', [MutateInSpec.upsert('a', 1)], insert), couchbase.DocumentExistsError)
})

check('data structures', async () => {
  const map = collection.map('map')
  await map.set('name', 'value')
  assert.equal(await map.get('name'), 'value')
  const list = collection.list('list')
  await list.push(1)
  await list.unshift(0)
  assert.deepEqual(await list.getAll(), [0, 1])
})

check('scans', async () => {
  const keys = ['a', 'b'].flatMap((prefix) =>
    Array.from({ length: 120 }, (_, number) => `scan-${prefix}${String(number).padStart(3, '0')}`))
  await Promise.all(keys.map((key) => collection.upsert(key, { key })))
  assert.deepEqual(await ids(new PrefixScan('scan-'), { idsOnly: true }), keys)
  assert.deepEqual(await ids(new PrefixScan('scan-b00'), { batchItemLimit: 3 }), keys.slice(120, 130))
  const found = await collection.scan(new RangeScan({ term: 'scan-a005' }, { term: 'scan-a010', exclusive: true }))
  assert.deepEqual(found.map(({ id }) => id), keys.slice(5, 10))
  for (const { id, content: document, cas } of found) {
    assert.deepEqual(document, { key: id })
    assert.equal(String(cas), String((await collection.get(id)).cas))
  }
  const all = await ids(new RangeScan(), { idsOnly: true })
  assert.deepEqual(all, [...all].sort())
  assert.ok(all.length > 240)
  const sample = await ids(new SamplingScan(20, 5), { idsOnly: true })
  assert.ok(sample.length > 0 && sample.length <= 20)
  assert.deepEqual(await ids(new SamplingScan(20, 5)), sample)
  assert.deepEqual(await ids(new PrefixScan('nothing')), [])
})

check('what is not there', async () => {
  await rejects(bucket.scope('nope').collection('nope').get('k', SHORT), couchbase.ScopeNotFoundError)
  const missing = [couchbase.CollectionNotFoundError, couchbase.UnambiguousTimeoutError] // it asks again and again
  await rejects(bucket.scope(scopeName).collection('nope').get('k', SHORT), ...missing)
})

check('a wrong password', async () => {
  const options = { username, password: `not ${password}`, security, timeouts: { connectTimeout: 3000 } }
  await rejects(couchbase.connect(address, options), couchbase.AuthenticationFailureError)
})

finish(() => cluster.close())
