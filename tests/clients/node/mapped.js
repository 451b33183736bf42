// Couchbase's SDK behind a port mapping: node mapped.js CONNECTION_STRING USER PASSWORD [CA]
'use strict'

const assert = require('node:assert/strict')
const couchbase = require('couchbase')
const { check, finish } = require('./checks')

const [address, username, password, ca] = process.argv.slice(2)
const security = ca ? { trustStorePath: ca } : {}
let cluster

check('mapped', async () => {
  cluster = await couchbase.connect(address, { username, password, security })
  const collection = cluster.bucket('default').defaultCollection()
  for (const key of ['a', 'b', 'c']) await collection.upsert(key, { key })
  assert.deepEqual((await collection.get('b')).content, { key: 'b' })
  const found = await collection.scan(new couchbase.RangeScan())
  assert.deepEqual(found.map(({ id }) => id), ['a', 'b', 'c'])
})

finish(() => cluster.close())
