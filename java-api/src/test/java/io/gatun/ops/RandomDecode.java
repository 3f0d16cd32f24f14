package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.ops.Attention.Window;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;

/** A random call of {@link Decode#run} or {@link Decode#logits}. */
final class RandomDecode extends RandomCall {
    private static final int LAST_FLAW = 14;

    private final DecodeProblem p;
    private final Tensor[] outputs;
    private final byte[][] before;
    private final List<KvPool> pools = new ArrayList<>();
    private Runnable call;

    RandomDecode(Random random) {
        super(random);
        p = new DecodeProblem(random);
        p.makeSmall();
        p.allocate();
        p.addOptions();
        if (random.chance(0.1)) {
            p.dropValues();
        }
        outputs = new Tensor[] {p.out, p.options.lse(), p.options.logits()};
        before = bytes();
        pools.add(p.k);
        pools.add(p.v);
        call = p::run;
    }

    private byte[][] bytes() {
        byte[][] bytes = new byte[outputs.length][];
        Arrays.setAll(
                bytes, n -> outputs[n] == null ? null : outputs[n].segment().toArray(JAVA_BYTE));
        return bytes;
    }

    @Override
    String describe() {
        return p.toString();
    }

    @Override
    int lastFlaw() {
        return LAST_FLAW;
    }

    @Override
    void spoil(int flaw) {
        switch (flaw) {
            case 0 -> p.q = spoiled(p.q, true);
            case 1 -> p.k = spoiled(p.k);
            case 2 -> {
                KvPool values = spoiled(p.v);
                call = () -> Decode.run(p.q, p.k, values, p.table, p.lengths, p.out, p.options);
            }
            case 3 -> {
                Tensor result = spoiled(p.out, false);
                call = () -> Decode.run(p.q, p.k, p.v, p.table, p.lengths, result, p.options);
            }
            case 4 -> p.options = p.options.withLse(spoiledSums());
            case 5 -> p.options = p.options.withLogits(spoiledLogits());
            case 6 -> p.options = p.options.withSlopes(spoiledVector());
            case 7 -> p.options = p.options.withSinks(spoiledVector());
            case 8 -> p.lengths = spoiledLengths();
            case 9 -> spoilTable();
            case 10 -> p.options = null;
            case 11 -> call = option();
            case 12 -> overlap();
            case 13 -> p.options = p.options.withLse(Unreachable.readOnly(p.sums()));
            default -> call = () -> Decode.logits(p.q, p.k, p.table, p.lengths, Decode.Options.DEFAULT);
        }
    }

    /** On another address, of another shape, type or arena; or none. */
    private Tensor spoiled(Tensor good, boolean input) {
        if (good == null) {
            return null;
        }
        long[] shape = good.shape().toArray();
        long[] larger = shape.clone();
        larger[random.of(input ? 3 : 2, 3)] += 8;
        return switch (random.between(0, 4)) {
            case 0 -> RandomArguments.elsewhere(random, good);
            case 1 -> Tensor.allocate(good.dtype(), larger);
            case 2 -> Tensor.allocate(random.of(DType.I8, DType.I32, DType.F8E4M3), shape);
            case 3 -> Tensor.allocate(good.dtype(), shape[0], shape[1], shape[2] * shape[3]);
            default -> null;
        };
    }

    private KvPool spoiled(KvPool good) {
        int more = 8 * random.between(0, 1);
        KvPool other = KvPool.allocate(
                KvFormat.F16,
                good.heads() + (more == 0 ? p.queryHeads + 1 : 0),
                good.pages(),
                good.pageSize(),
                good.size() % 256 + more);
        if (random.chance(0.3)) {
            other.close();
        } else {
            pools.add(other);
        }
        return random.chance(0.2) ? null : other;
    }

    private Tensor spoiledSums() {
        long[] shape = {p.batch, p.queryHeads, p.queries};
        return random.of(
                Tensor.allocate(DType.F32, p.batch, p.queryHeads, p.queries + 1),
                Tensor.allocate(DType.F32, p.queryHeads, p.queries),
                Tensor.allocate(DType.BF16, shape),
                Unreachable.closed(DType.F32, shape),
                Unreachable.foreign(DType.F32, shape));
    }

    private Tensor spoiledLogits() {
        long[] shape = {p.batch, p.queryHeads, p.queries, p.longest};
        return random.of(
                Tensor.allocate(DType.F32, p.batch, p.queryHeads, p.queries + 1, p.longest),
                Tensor.allocate(DType.F32, p.batch, p.queryHeads, p.queries, p.longest)
                        .reshape(p.batch * p.queryHeads, p.queries, p.longest),
                Tensor.allocate(DType.F16, shape),
                Unreachable.closed(DType.F32, shape),
                Unreachable.foreign(DType.F32, shape));
    }

    private Tensor spoiledVector() {
        return random.of(
                Tensor.allocate(DType.F32, p.queryHeads + 1),
                Tensor.allocate(DType.F32, 1, p.queryHeads),
                Tensor.allocate(DType.F16, p.queryHeads),
                Unreachable.closed(DType.F32, p.queryHeads),
                Unreachable.foreign(DType.F32, p.queryHeads));
    }

    private long[] spoiledLengths() {
        long[] bad = p.lengths.clone();
        long most = (long) p.pageSize * p.pagesOfItem;
        bad[random.between(0, bad.length - 1)] = random.of(-1L, Long.MIN_VALUE, most + 1, Long.MAX_VALUE);
        return random.of(bad, Arrays.copyOf(bad, 7 * bad.length), null);
    }

    private void spoilTable() {
        long[] shape = {p.batch, 1, 1};
        if (p.table != null && p.longest > 0 && random.chance(0.5)) {
            long[] rows = p.lengths;
            int row = 0;
            while (rows[row] == 0) {
                row++;
            }
            int[] entries = new int[(int) p.table.shape().elements()];
            entries[row * p.pagesOfItem] = random.of(-1, Integer.MIN_VALUE, p.k.pages(), Integer.MAX_VALUE);
            p.table = Tensor.of(entries, p.table.shape().toArray());
            return;
        }
        p.table = random.of(
                Tensor.allocate(DType.I32, p.batch, p.heads + 1, 1),
                Tensor.allocate(DType.I32, p.batch, 1),
                Tensor.allocate(DType.F32, shape),
                Tensor.allocate(DType.I32, p.batch + 1, 1, 1),
                Unreachable.closed(DType.I32, shape),
                Unreachable.foreign(DType.I32, shape));
        p.lengths = new long[p.batch];
    }

    /** An output that begins where another argument has not ended. */
    private void overlap() {
        Tensor both = Tensor.allocate(DType.F32, 2L * p.batch * p.queryHeads * p.keySize);
        long rows = (long) p.batch * p.queryHeads * p.keySize;
        p.q = Tensor.wrap(both.segment(), DType.F32, p.batch, p.queryHeads, 1, p.keySize);
        Tensor lse = Tensor.wrap(
                both.slice(0, rows - 1, 2 * rows).segment(),
                DType.F32,
                Shape.of(p.batch, p.queryHeads, 1),
                p.queryHeads,
                1,
                1);
        call = () -> Decode.logits(p.q, p.k, p.table, p.lengths, Decode.Options.DEFAULT.withLse(lse));
    }

    /** Options that cannot be made. */
    private Runnable option() {
        Decode.Options given = p.options;
        return random.of(
                () -> given.withScale(random.of(Float.NaN, Float.POSITIVE_INFINITY)),
                () -> given.withSoftCap(random.of(-1f, Float.NaN, Float.POSITIVE_INFINITY)),
                () -> given.withThreads(random.of(-1, 1025)),
                () -> given.withWindow(random.between(-9, -2), 0),
                () -> given.withWindow(new Window(1, random.between(0, 9), 0)),
                () -> given.withWindow(1, -1),
                () -> given.withMode(null),
                () -> given.withWindow(null));
    }

    @Override
    void run() {
        call.run();
    }

    @Override
    Consumer<String> expected() {
        return context -> {
            p.check(context);
            pools.forEach(KvPool::close);
        };
    }

    @Override
    boolean unchanged() {
        byte[][] after = bytes();
        for (int n = 0; n < outputs.length; n++) {
            assertArrayEquals(before[n], after[n]);
        }
        pools.forEach(KvPool::close);
        return true;
    }
}
