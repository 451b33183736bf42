<?php
// PHP's memcached, in the text protocol: php memcached.php HOST PORT. It prints one line if everything is as it should be.
[$_, $host, $port] = $argv;
$client = new Memcached();
$client->setOption(Memcached::OPT_BINARY_PROTOCOL, false);
$client->addServer($host, (int) $port);

function same($expected, $found, string $what): void
{
    if ($expected !== $found) {
        fwrite(STDERR, "$what: expected " . var_export($expected, true) . ", found " . var_export($found, true) . "\n");
        exit(1);
    }
}

foreach (['text', "bytes\0\r\n\xff", '', 5, 2.5, true, null, ['a' => [1, 2]], str_repeat('again ', 100000)] as $value) {
    same(true, $client->set('k', $value, 1000), 'set');
    same($value, $client->get('k'), 'get');
}
same(false, $client->get('none'), 'a miss');
same(Memcached::RES_NOTFOUND, $client->getResultCode(), 'the code of a miss');
same(false, $client->add('k', 1), 'add what is there');
same(Memcached::RES_NOTSTORED, $client->getResultCode(), 'the code of an add');
same(true, $client->add('new', 'added'), 'add');
same(true, $client->replace('new', 'replaced'), 'replace');
same(false, $client->replace('none', 'x'), 'replace what is not there');
$client->setOption(Memcached::OPT_COMPRESSION, false);
same(true, $client->set('new', 'b'), 'set without compression');
same(true, $client->append('new', 'c'), 'append');
same(true, $client->prepend('new', 'a'), 'prepend');
same('abc', $client->get('new'), 'what was concatenated');
same(true, $client->delete('new'), 'delete');
same(false, $client->delete('new'), 'delete again');

same(false, $client->increment('n'), 'increment what is not there');
same(true, $client->set('n', 5), 'set a number');
same(8, $client->increment('n', 3), 'increment');
same(0, $client->decrement('n', 100), 'decrement');

$found = $client->get('k', null, Memcached::GET_EXTENDED);
same(true, $client->cas($found['cas'], 'k', 'second'), 'cas');
same(false, $client->cas($found['cas'], 'k', 'stale'), 'a stale cas');
same(Memcached::RES_DATA_EXISTS, $client->getResultCode(), 'the code of a stale cas');

$documents = [];
for ($number = 0; $number < 1000; $number++) {
    $documents["k$number"] = ['n' => $number];
}
same(true, $client->setMulti($documents), 'set many');
same($documents, $client->getMulti(array_merge(array_keys($documents), ['none']), Memcached::GET_PRESERVE_ORDER) === false
    ? false : $client->getMulti(array_keys($documents), Memcached::GET_PRESERVE_ORDER), 'get many');
same(true, $client->getDelayed(['k1', 'k2', 'none'], true), 'ask for some');
same(2, count($client->fetchAll()), 'fetch them');
same([true, true], array_values($client->deleteMulti(['k1', 'k2'])), 'delete many');
same(true, $client->touch('k3', 1000), 'touch');
same(false, $client->touch('none', 1000), 'touch what is not there');
$client->setOption(Memcached::OPT_NOREPLY, true);
for ($number = 0; $number < 100; $number++) {
    $client->set('last', $number);
}
$client->setOption(Memcached::OPT_NOREPLY, false);
same(99, $client->get('last'), 'what was stored without replies');
same(false, $client->set("a b\r\n", 1), 'a bad key');

$found = current($client->getStats());
same(true, $found['curr_items'] > 990, 'the number of items');
same($found['version'], current($client->getVersion()), 'the version');
same(true, $client->flush(), 'flush');
same(false, $client->get('k3'), 'what was flushed');
echo "ok\n";
