package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.KvFormat.Scaling;
import java.util.Arrays;
import java.util.function.Consumer;
import java.util.stream.LongStream;

/** A random call of {@link KvPool#write}, {@link KvPool#read} or {@link KvPool#move}. */
final class RandomKvPool extends RandomCall {
    private enum Operation {
        WRITE,
        READ,
        MOVE
    }

    private final Operation operation;
    private final KvPool pool;
    private final int group;
    private long[] slots;
    private long[] to;
    private Tensor x;
    private final Tensor given;
    private final byte[] before;
    private final float[] xBefore;
    private KvPool called;
    private int threads;

    RandomKvPool(Random random) {
        super(random);
        operation = random.of(Operation.values());
        KvFormat drawn = random.of(KvOracle.formats());
        int size = 8 * random.between(1, 5);
        KvFormat format = drawn.scaling() == Scaling.PER_TOKEN && drawn.group() > size
                ? new KvFormat(drawn.dtype(), drawn.scaling(), 0, drawn.zeroPoint())
                : drawn;
        boolean perChannel = format.scaling() == Scaling.PER_CHANNEL;
        group = perChannel ? format.group() : 1;
        pool = KvPool.allocate(
                format, random.between(1, 2), random.between(1, 3), perChannel ? 32 : random.between(1, 8), size);
        KvOracle.fill(pool, random, 1);
        called = pool;
        threads = random.between(0, 3);
        int groups = pool.pages() * pool.pageSize() / group;
        int count = random.between(0, groups);
        slots = slots(groups, count);
        to = slots(groups, count);
        if (operation != Operation.MOVE) {
            for (int n = 0; n < count; n++) {
                if (random.chance(0.2)) {
                    Arrays.fill(slots, n * group, (n + 1) * group, -1);
                }
            }
        }
        DType dtype = random.of(DType.F32, DType.BF16, DType.F16);
        int gap = random.between(0, 3);
        Tensor whole = Tensor.allocate(dtype, pool.heads(), slots.length + gap, size + gap);
        whole.copyFrom(random.normal((int) whole.shape().elements(), random.of(0.01, 1.0, 100.0)));
        x = whole.slice(1, 0, slots.length).slice(2, 0, size);
        given = x;
        before = KvOracle.bytes(pool);
        xBefore = x.toFloatArray();
    }

    /** Of so many groups, in any order. */
    private long[] slots(int groups, int count) {
        long[] order = LongStream.range(0, groups).toArray();
        for (int n = 0; n < count; n++) {
            int other = random.between(n, groups - 1);
            long first = order[n];
            order[n] = order[other];
            order[other] = first;
        }
        return LongStream.of(order)
                .limit(count)
                .flatMap(n -> LongStream.range(n * group, (n + 1) * group))
                .toArray();
    }

    @Override
    String describe() {
        return operation + " " + pool + " x " + x.describe() + " slots " + Arrays.toString(slots) + " to "
                + Arrays.toString(to) + " " + threads + " threads";
    }

    @Override
    int lastFlaw() {
        return 4;
    }

    @Override
    void spoil(int flaw) {
        switch (flaw) {
            case 0 -> spoilMemory();
            case 1 -> slots = spoiled(slots);
            case 2 -> {
                if (operation == Operation.MOVE) {
                    to = random.chance(0.5) ? spoiled(to) : Arrays.copyOf(to, to.length + 1);
                } else {
                    x = spoiledRows();
                }
            }
            case 3 -> {
                called = KvPool.allocate(pool.format(), pool.heads(), pool.pages(), pool.pageSize(), pool.size());
                called.close();
            }
            default -> {
                threads = random.of(-1, 1025);
                to = null;
            }
        }
    }

    /** A pool over memory that cannot be used, or not be written. */
    private void spoilMemory() {
        long[] shape = {pool.pages(), pool.heads(), pool.pageSize(), pool.size()};
        Tensor bad = random.of(Unreachable.closed(DType.F32, shape), Unreachable.foreign(DType.F32, shape));
        if (operation != Operation.READ && random.chance(0.3)) {
            bad = Unreachable.readOnly(Tensor.allocate(DType.F32, shape));
        }
        called = KvPool.of(bad, Attention.Layout.HND);
    }

    private long[] spoiled(long[] good) {
        if (good.length == 0 || random.chance(0.2)) {
            return random.of(null, new long[good.length + 1]);
        }
        long[] bad = good.clone();
        long beyond = (long) pool.pages() * pool.pageSize();
        bad[random.between(0, bad.length - 1)] = random.of(-2L, Long.MIN_VALUE, beyond, Long.MAX_VALUE);
        return bad;
    }

    private Tensor spoiledRows() {
        int heads = pool.heads();
        int size = pool.size();
        return random.of(
                RandomArguments.elsewhere(random, x),
                Tensor.allocate(x.dtype(), heads + 1, slots.length, size),
                Tensor.allocate(x.dtype(), heads, slots.length + 1, size),
                Tensor.allocate(x.dtype(), heads, slots.length, size + 8),
                Tensor.allocate(DType.I8, heads, slots.length, size),
                Tensor.allocate(x.dtype(), heads * size, slots.length),
                null);
    }

    @Override
    void run() {
        switch (operation) {
            case WRITE -> called.write(x, slots, threads);
            case READ -> called.read(slots, x, threads);
            default -> called.move(slots, to);
        }
    }

    @Override
    Consumer<String> expected() {
        double[][] numbers = KvOracle.numbers(pool);
        if (operation == Operation.WRITE) {
            KvOracle.write(pool, x, slots, numbers);
        } else if (operation == Operation.MOVE) {
            int row = pool.heads() * pool.size();
            double[][] from = KvOracle.numbers(pool);
            for (int t = 0; t < slots.length; t++) {
                for (int part = 0; part < 3; part++) {
                    System.arraycopy(from[part], (int) slots[t] * row, numbers[part], (int) to[t] * row, row);
                }
            }
        }
        return context -> {
            double[][] after = KvOracle.numbers(pool);
            for (int part = 0; part < 3; part++) {
                assertArrayEquals(numbers[part], after[part], context + " part " + part);
            }
            checkRows(context);
            pool.close();
        };
    }

    private void checkRows(String context) {
        int n = 0;
        for (int head = 0; head < pool.heads(); head++) {
            for (long slot : slots) {
                for (int c = 0; c < pool.size(); c++, n++) {
                    float right = operation == Operation.READ && slot >= 0
                            ? KvOracle.rounded(given.dtype(), KvOracle.value(pool, slot, head, c))
                            : xBefore[n];
                    int t = n / pool.size() % slots.length;
                    assertEquals(right, given.getFloat(head, t, c), context + " x of head " + head + " token " + t);
                }
            }
        }
    }

    @Override
    boolean unchanged() {
        assertArrayEquals(before, KvOracle.bytes(pool));
        assertArrayEquals(xBefore, given.toFloatArray());
        pool.close();
        return true;
    }
}
