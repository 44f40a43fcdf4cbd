<?php
// Every call of php-memcached (libmemcached), through each node in turn: written through one, read through the next.
// php calls.php calls|flush ADDRESS ADDRESS ADDRESS; what it prints is told in script.py.

declare(strict_types=1);

const HUNDRED = 100;
// No words on the wire, not on the text protocol, or (the last) told by `flush`.
const ELSEWHERE = ['__construct', 'setSaslAuthData', 'setEncodingKey', 'checkKey', 'flush'];

final class Script
{
    public int $checks = 0;
    public bool $failed = false;
    public string $where = '';
    /** @var array<string, true> */
    public array $called = [];

    public function fail(string $text): void
    {
        $this->failed = true;
        echo 'FAIL ', $this->where, str_replace("\n", ' | ', $text), "\n";
    }

    public function same(string $what, mixed $found, mixed $wanted): void
    {
        $this->checks++;
        if ($found !== $wanted) {
            $this->fail("$what: " . shown($found) . ', not ' . shown($wanted));
        }
    }

    public function holds(string $what, mixed $found, bool $held): void
    {
        $this->checks++;
        if (!$held) {
            $this->fail("$what: " . shown($found));
        }
    }
}

/** Notes the names of the methods called. */
final class Watched
{
    public function __construct(public Memcached $client, private Script $script)
    {
    }

    public function __call(string $name, array $arguments): mixed
    {
        $this->script->called[$name] = true;
        return $this->client->$name(...$arguments);
    }
}

function shown(mixed $value): string
{
    $text = json_encode($value, JSON_INVALID_UTF8_SUBSTITUTE | JSON_PARTIAL_OUTPUT_ON_ERROR) ?: gettype($value);
    return strlen($text) > 200 ? substr($text, 0, 200) . '… (' . strlen($text) . ' characters)' : $text;
}

function connect(Script $script, array $addresses, array $options = []): Watched
{
    $client = new Watched(new Memcached(), $script);
    $client->setOptions($options + [
        Memcached::OPT_BINARY_PROTOCOL => false,
        Memcached::OPT_TCP_NODELAY => true,
        Memcached::OPT_CONNECT_TIMEOUT => 10000,
        Memcached::OPT_RECV_TIMEOUT => 10000000,
        Memcached::OPT_SEND_TIMEOUT => 10000000,
        Memcached::OPT_POLL_TIMEOUT => 10000,
    ]);
    $servers = array_map(function (string $address): array {
        $at = strrpos($address, ':');
        return [substr($address, 0, $at), (int) substr($address, $at + 1)];
    }, $addresses);
    $client->addServers($servers);
    return $client;
}

function values(Script $s, Watched $writer, Watched $reader, callable $key): void
{
    $large = str_repeat(implode('', array_map('chr', range(0, 255))), 3900);
    $typed = [
        'text' => 'v', 'empty' => '', 'crlf' => "a\r\nEND\r\nb", 'int' => PHP_INT_MAX, 'float' => 2.5, 'true' => true,
        'false' => false, 'array' => ['a' => [1, null, 'x']], 'large' => $large,
    ];
    foreach ($typed as $name => $value) {
        $s->same("set $name", $writer->set($key($name), $value), true);
        $s->same("get $name", [$reader->get($key($name)), $reader->getResultCode()], [$value, Memcached::RES_SUCCESS]);
    }
    $s->same('get of a missing key', [$reader->get($key('missing')), $reader->getResultCode()], [false,
        Memcached::RES_NOTFOUND]);
    $s->same('its message', $reader->getResultMessage(), 'NOT FOUND');
    $made = $reader->get($key('made'), function ($client, $name, &$value) {
        $value = 'by the callback';
        return true;
    });
    $s->same('get with a callback stores', [$made, $writer->get($key('made'))], ['by the callback', 'by the callback']);
    $writer->setOption(Memcached::OPT_USER_FLAGS, 7);
    $s->same('set with flags of its own', $writer->set($key('flagged'), 'x'), true);
    $writer->setOption(Memcached::OPT_USER_FLAGS, -1);
    $s->same('the flags', $reader->get($key('flagged'), null, Memcached::GET_EXTENDED)['flags'], 7);
    $s->same('an impossible key', [$writer->set('a b', 'x'), $writer->getResultCode()], [false,
        Memcached::RES_BAD_KEY_PROVIDED]);
}

function storage(Script $s, Watched $writer, Watched $reader, callable $key): void
{
    $writer->setOption(Memcached::OPT_COMPRESSION, false);
    $reader->setOption(Memcached::OPT_COMPRESSION, false);
    $s->same('the option', $reader->getOption(Memcached::OPT_COMPRESSION), false);
    $s->same('add', [$writer->add($key('add'), '1'), $reader->add($key('add'), '2')], [true, false]);
    $s->same('why not', $reader->getResultCode(), Memcached::RES_NOTSTORED);
    $s->same('replace', [$reader->replace($key('add'), '3'), $writer->replace($key('missing'), '3')], [true, false]);
    $s->same('append', [$writer->append($key('add'), '4'), $writer->append($key('missing'), '4')], [true, false]);
    $s->same('prepend', [$reader->prepend($key('add'), '2'), $reader->prepend($key('missing'), '4')], [true, false]);
    $s->same('both are there', $writer->get($key('add')), '234');
    $s->same('delete', [$writer->delete($key('add')), $writer->delete($key('add'))], [true, false]);
    $s->same('why not', $writer->getResultCode(), Memcached::RES_NOTFOUND);
    $s->same('it is gone', $reader->get($key('add')), false);
}

function many(Script $s, Watched $writer, Watched $reader, callable $key): void
{
    $values = [];
    for ($number = 0; $number < HUNDRED; $number++) {
        $values[$key("many-$number")] = "value $number";
    }
    $keys = array_keys($values);
    $s->same('setMulti', $writer->setMulti($values, 100), true);
    $s->same('getMulti in order', $reader->getMulti([...$keys, $key('missing')], Memcached::GET_PRESERVE_ORDER),
        $values + [$key('missing') => null]);
    $found = $reader->getMulti($keys, Memcached::GET_EXTENDED);
    $tokens = array_column($found, 'cas');
    $s->same('getMulti with tokens', [count($found), count(array_unique($tokens))], [HUNDRED, HUNDRED]);
    $s->same('getDelayed', $reader->getDelayed($keys, true), true);
    $got = $reader->fetchAll();
    $s->same('fetchAll', array_column($got, 'value', 'key'), $values);
    $s->holds('with tokens', $got[0], $got[0]['cas'] > 0);
    $s->same('getDelayed again', $reader->getDelayed([$keys[0]]), true);
    $s->same('fetch', [$reader->fetch()['value'], $reader->fetch()], ['value 0', false]);
    $seen = 0;
    $s->same('getDelayed with a callback', $reader->getDelayed($keys, false, function () use (&$seen) { $seen++; }),
        true);
    $s->same('it is called for each', $seen, HUNDRED);
    $deleted = $writer->deleteMulti(array_slice($keys, 0, 50));
    $s->same('deleteMulti', array_values(array_unique($deleted, SORT_REGULAR)), [true]);
    $s->same('half is left', count($reader->getMulti($keys)), 50);
}

function by_key(Script $s, Watched $writer, Watched $reader, callable $key): void
{
    $by = 'a server';
    $name = $key('by');
    $s->same('setByKey', [$writer->setByKey($by, $name, '5'), $reader->getByKey($by, $name)], [true, '5']);
    $s->same('addByKey', $writer->addByKey($by, $name, '6'), false);
    $s->same('replaceByKey', $writer->replaceByKey($by, $name, '10'), true);
    $s->same('incrementByKey', [$writer->incrementByKey($by, $name, 5), $reader->decrementByKey($by, $name, 3)], [15,
        12]);
    $s->same('touchByKey', $writer->touchByKey($by, $name, 100), true);
    $token = $reader->getByKey($by, $name, null, Memcached::GET_EXTENDED)['cas'];
    $s->same('casByKey', [$writer->casByKey($token, $by, $name, 'b'), $writer->casByKey($token, $by, $name, 'c')],
        [true, false]);
    $writer->setOption(Memcached::OPT_COMPRESSION, false);
    $s->same('appendByKey', [$writer->appendByKey($by, $name, 'c'), $writer->prependByKey($by, $name, 'a')], [true,
        true]);
    $s->same('both', $reader->getByKey($by, $name), 'abc');
    $s->same('setMultiByKey', $writer->setMultiByKey($by, [$name => '1', $key('by2') => '2']), true);
    $s->same('getMultiByKey', $reader->getMultiByKey($by, [$name, $key('by2')]), [$name => '1', $key('by2') => '2']);
    $s->same('getDelayedByKey', [$reader->getDelayedByKey($by, [$name]), count($reader->fetchAll())], [true, 1]);
    $s->same('deleteByKey', [$writer->deleteByKey($by, $name), $reader->getByKey($by, $name)], [true, false]);
    $s->same('deleteMultiByKey', $writer->deleteMultiByKey($by, [$key('by2')]), [$key('by2') => true]);
    $s->same('getServerByKey', $writer->getServerByKey($by)['port'], $writer->getServerList()[0]['port']);
}

function compare_and_swap(Script $s, Watched $writer, Watched $reader, callable $key): void
{
    $writer->set($key('cas'), 'a');
    $found = $reader->get($key('cas'), null, Memcached::GET_EXTENDED);
    $s->same('get extended', [$found['value'], $found['flags']], ['a', 0]);
    $s->same('cas', $writer->cas($found['cas'], $key('cas'), 'b'), true);
    $s->same('cas again', [$reader->cas($found['cas'], $key('cas'), 'c'), $reader->getResultCode()], [false,
        Memcached::RES_DATA_EXISTS]);
    $s->same('cas of nothing', [$reader->cas(1, $key('missing'), 'c'), $reader->getResultCode()], [false,
        Memcached::RES_NOTFOUND]);
    $s->same('it holds', $reader->get($key('cas')), 'b');
}

function counters(Script $s, Watched $writer, Watched $reader, callable $key): void
{
    $writer->set($key('n'), 10);
    $s->same('increment', [$writer->increment($key('n')), $reader->increment($key('n'), 4)], [11, 15]);
    $s->same('decrement', [$reader->decrement($key('n')), $writer->decrement($key('n'), 100)], [14, 0]);
    $s->same('of nothing', [$writer->increment($key('missing')), $writer->getResultCode()], [false,
        Memcached::RES_NOTFOUND]);
    $s->same('decrement of nothing', $writer->decrement($key('missing')), false);
    // The text protocol has no initial value: the client refuses, and nothing must have been sent.
    $refused = @$writer->increment($key('initial'), 1, 5, 100);
    $s->same('with an initial value', [$refused, $reader->get($key('initial'))], [false, false]);
    $s->same('decrement with one', [@$writer->decrement($key('initial'), 1, 5, 100), $reader->get($key('initial'))],
        [false, false]);
    $writer->set($key('word'), 'word');
    $lonely = connect($s, [$GLOBALS['addresses'][$GLOBALS['at']]]);
    $s->same('increment of a word', $lonely->increment($key('word')), false);
    $s->holds('an error is told', $lonely->getResultMessage(),
        $lonely->getResultCode() === Memcached::RES_CLIENT_ERROR);
    $s->holds('and the last', '', $lonely->getLastErrorCode() !== 0 && $lonely->getLastErrorMessage() !== '');
    $s->same('no errno', $lonely->getLastErrorErrno(), 0);
    $s->same('nobody disconnected', $writer->getLastDisconnectedServer(), false);
}

function expiry(Script $s, Watched $writer, Watched $reader, callable $key): void
{
    $s->same('a second to live', [$writer->set($key('short'), 'x', 1), $writer->set($key('kept'), 'x', 100)], [true,
        true]);
    $s->same('touch', [$reader->touch($key('kept'), 1000), $reader->touch($key('missing'), 1)], [true, false]);
    $s->same('in 1970', [$writer->set($key('past'), 'x', 2592001), $reader->get($key('past'))], [true, false]);
    $s->same('in 2033', [$writer->set($key('dated'), 'x', 2000000000), $reader->get($key('dated'))], [true, 'x']);
}

function expired(Script $s, Watched $writer, Watched $reader, callable $key): void
{
    $s->same('after more than a second', [$reader->get($key('short')), $reader->get($key('kept'))], [false, 'x']);
}

function statistics(Script $s, Watched $writer, Watched $reader, callable $key): void
{
    $writer->set($key('counted'), 'x');
    $told = $writer->getStats();
    $s->same('getStats is of one server', count($told), 1);
    $fields = reset($told);
    $missing = array_diff(['pid', 'uptime', 'version', 'curr_items', 'cmd_get', 'cmd_set', 'limit_maxbytes'],
        array_keys($fields));
    $s->same('getStats has its fields', $missing, []);
    $s->holds('they are numbers', $fields, $fields['cmd_set'] >= 1 && $fields['pid'] > 1);
    foreach (['settings' => 'maxconns', 'slabs' => 'active_slabs', 'items' => null,
        'sizes' => 'sizes_status'] as $form => $field) {
        $told = $writer->getStats($form);
        $s->holds("getStats($form)", $told,
            is_array($told) && count($told) === 1 && ($field === null || isset(reset($told)[$field])));
    }
    $versions = $writer->getVersion();
    $s->holds('getVersion', $versions, count($versions) === 1 && preg_match('/^\d+\.\d+\.\d+$/',
        reset($versions)) === 1);
    // It asks `stats cachedump` for each of 200 classes and ends at the first that is refused.
    $keys = $writer->getAllKeys();
    $s->holds('getAllKeys', $writer->getResultMessage(), $keys === false || is_array($keys));
    $s->same('the next answer is its own', $writer->get($key('counted')), 'x');
}

function ring(Script $s, Watched $writer, Watched $reader, callable $key): void
{
    $ketama = [Memcached::OPT_LIBKETAMA_COMPATIBLE => true, Memcached::OPT_PREFIX_KEY => $key('ring-')];
    $ring = connect($s, $GLOBALS['addresses'], $ketama);
    $values = [];
    for ($number = 0; $number < HUNDRED; $number++) {
        $values["r$number"] = $number;
    }
    $s->same('setMulti', $ring->setMulti($values), true);
    $s->same('getMulti', $ring->getMulti(array_keys($values), Memcached::GET_PRESERVE_ORDER), $values);
    $one = connect($s, [$GLOBALS['addresses'][$GLOBALS['at']]], $ketama);
    $s->same('one node has them all', $one->getMulti(array_keys($values), Memcached::GET_PRESERVE_ORDER), $values);
    $s->same('getServerList', count($ring->getServerList()), count($GLOBALS['addresses']));
    $s->same('not persistent', [$ring->isPersistent(), $ring->isPristine()], [false, true]);
    $s->same('setBucket', $ring->setBucket([0, 0], null, 1), true);
    $s->same('resetServerList', [$ring->resetServerList(), $ring->getServerList()], [true, []]);
    $first = explode(':', $GLOBALS['addresses'][0]);
    $s->same('addServer', [$ring->addServer($first[0], (int) $first[1]), $ring->get('r7')], [true, 7]);
    $s->same('quit', [$ring->quit(), $ring->get('r8')], [true, 8]);

    $slow = connect($s, [$GLOBALS['addresses'][$GLOBALS['at']]], [Memcached::OPT_BUFFER_WRITES => true]);
    $s->same('a write that is buffered', $slow->set($key('buffered'), 'x'), true);
    $s->same('flushBuffers', $slow->flushBuffers(), true);
    $s->same('a read after it', $slow->get($key('buffered')), 'x');
    $s->same('others see it', $reader->get($key('buffered')), 'x');
    $quiet = connect($s, [$GLOBALS['addresses'][$GLOBALS['at']]], [Memcached::OPT_NOREPLY => true]);
    $s->same('a write without reply', [$quiet->set($key('quiet'), 'x'), $quiet->get($key('quiet'))], [true, 'x']);
}

function flush_all(Script $s, Watched $writer, Watched $reader, callable $key): void
{
    $writer->set($key('flushed'), 'x');
    $s->same('flush', [$reader->flush(), $writer->get($key('flushed'))], [true, false]);
    $writer->set($key('flushed'), 'x');
    $s->same('flush in a minute', [$reader->flush(60), $writer->get($key('flushed'))], [true, 'x']);
    $s->same('flush takes its place', [$writer->flush(), $reader->get($key('flushed'))], [true, false]);
}

function tell(Script $script, array $addresses, array $stories): void
{
    foreach ($stories as $story) {
        for ($GLOBALS['at'] = 0; $GLOBALS['at'] < count($addresses); $GLOBALS['at']++) {
            $at = $GLOBALS['at'];
            $script->where = 'n' . ($at + 1) . ': ';
            try {
                $writer = connect($script, [$addresses[$at]]);
                $reader = connect($script, [$addresses[($at + 1) % count($addresses)]]);
                $story($script, $writer, $reader, fn (string $name): string => "php-$at-$name");
            } catch (Throwable $error) {
                $script->fail("$story ends: {$error->getMessage()} (line {$error->getLine()})");
            }
        }
    }
    $script->where = '';
}

$addresses = array_slice($argv, 2);
$at = 0;
$script = new Script();
if ($argv[1] === 'flush') {
    tell($script, $addresses, ['flush_all']);
} else {
    tell($script, $addresses, ['expiry', 'values', 'storage', 'many', 'by_key', 'compare_and_swap', 'counters',
        'statistics', 'ring']);
    usleep(2100000);
    tell($script, $addresses, ['expired']);
    $unmade = array_diff(get_class_methods('Memcached'), ELSEWHERE, array_keys($script->called));
    $script->same('calls that the client offers and the script does not make', array_values($unmade), []);
}
echo 'DONE calls=', count($script->called), ' checks=', $script->checks, "\n";
exit($script->failed ? 1 : 0);
