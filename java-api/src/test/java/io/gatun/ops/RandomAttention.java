package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Attention.Mode;
import io.gatun.ops.Attention.Options;
import java.util.Arrays;
import java.util.function.Consumer;

/** A random call of {@link Attention#run}: dense, over a mask, or over the blocks of a {@link Selection}. */
final class RandomAttention extends RandomCall {
    private static final int LAST_FLAW = 17;

    private final AttentionProblem p;
    private final Tensor out;
    private final Tensor lse;
    private final Tensor density;
    private final byte[] outBefore;
    private final byte[] lseBefore;
    private final byte[] densityBefore;
    private Runnable call;

    RandomAttention(Random random) {
        super(random);
        p = new AttentionProblem(random);
        p.makeSmall();
        if (random.chance(0.3)) {
            p.makeRagged();
        }
        p.addOptions();
        p.allocate();
        if (random.chance(0.2)) {
            p.options = p.options.withMode(Mode.INT8);
        }
        Tensor shares = null;
        if (random.chance(0.4)) {
            shares = Tensor.allocate(DType.F32, p.batch, p.queryHeads);
            p.options = p.options.withMask(null).withSelection(selection().withDensity(shares));
        }
        if (random.chance(0.1)) {
            p.v = null;
            p.out = null;
            p.options = p.options.withLse(p.sums()).withCorrection(null);
        }
        out = p.out;
        lse = p.options.lse();
        density = shares;
        outBefore = bytes(out);
        lseBefore = bytes(lse);
        densityBefore = bytes(density);
        call = () -> Attention.run(p.q, p.k, p.v, p.out, p.options);
    }

    private static byte[] bytes(Tensor tensor) {
        return tensor == null ? null : tensor.segment().toArray(JAVA_BYTE);
    }

    private Selection selection() {
        Selection drawn = switch (random.between(0, 5)) {
            case 0 -> Selection.means().withSimilarity(random.of(-1.0, 0.1));
            case 1 ->
                Selection.antidiagonal().withStride(random.of(1, 4, 8, 16)).withDiagonal(random.chance(0.5));
            case 2 -> Selection.verticalSlash(1, 1).withLines(random.between(0, 9), random.between(0, 9), 2, 3);
            case 3 -> Selection.aShape(random.between(0, 20), random.between(0, 20));
            case 4 -> Selection.proxy(random.of(1, p.queryHeads));
            default -> Selection.mass(p.normalSums());
        };
        double amount = random.source.nextDouble();
        drawn = switch (random.between(0, 2)) {
            case 0 -> drawn.withKeepFraction(amount);
            case 1 -> drawn.withKeepMass(amount);
            default -> drawn.withKeepBelowMass(amount);
        };
        if (random.chance(0.3) && drawn.kind() != Selection.Kind.VERTICAL_SLASH) {
            float[] shares = new float[p.batch * p.queryHeads];
            for (int n = 0; n < shares.length; n++) {
                shares[n] = (float) random.source.nextDouble();
            }
            drawn = drawn.withBudgets(Tensor.of(shares, p.batch, p.queryHeads));
        }
        return drawn.withBlocks(16 * random.between(1, 3), 16 * random.between(1, 3))
                .withFirst(random.chance(0.3))
                .withLastQueries(random.of(1, 7, 64));
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
            case 0 -> p.q = spoiled(p.q);
            case 1 -> p.k = spoiled(p.k);
            case 2 -> p.v = p.v == null ? p.k : spoiled(p.v);
            case 3 -> p.out = p.out == null ? p.q : spoiled(p.out);
            case 4 -> {
                p.options = p.out == null ? p.options.withLse(Unreachable.readOnly(lse)) : p.options;
                p.out = p.out == null ? null : Unreachable.readOnly(p.out);
            }
            case 5 -> p.options = p.options.withLse(spoiledSums());
            case 6 -> p.options = p.options.withCorrection(spoiledSums());
            case 7 -> p.options = p.options.withSlopes(spoiledVector());
            case 8 -> p.options = p.options.withSinks(spoiledVector());
            case 9 -> p.options = p.options.withSelection(null).withMask(spoiledMask());
            case 10 -> spoilSequences();
            case 11 -> overlap();
            case 12 -> p.options = null;
            case 13 -> p.options = p.options.withMask(null).withSelection(spoiledSelection());
            case 14 -> {
                long[] shape = {p.batch, 9, 9, 8};
                long[] other = {p.batch, 7, 7, 8};
                p.q = Tensor.allocate(p.dtype, p.ragged ? Arrays.copyOfRange(shape, 1, 4) : shape);
                p.k = Tensor.allocate(p.dtype, p.ragged ? Arrays.copyOfRange(other, 1, 4) : other);
            }
            case 15 -> call = option();
            case 16 -> {
                // Nothing is asked for.
                p.v = null;
                p.out = null;
                p.options = p.options.withLse(null);
            }
            default -> beyondKeys();
        }
    }

    /** On another address, of another shape, type or arena; or none. */
    private Tensor spoiled(Tensor good) {
        long[] shape = good.shape().toArray();
        long[] larger = shape.clone();
        larger[shape.length - 1] += random.of(8, 3);
        return switch (random.between(0, 5)) {
            case 0 -> RandomArguments.elsewhere(random, good);
            case 1 -> Tensor.allocate(good.dtype(), larger);
            case 2 -> Tensor.allocate(random.of(DType.I8, DType.I32, DType.U8), shape);
            case 3 -> Tensor.allocate(good.dtype(), Arrays.copyOf(shape, shape.length - 1));
            case 4 -> {
                // Elements of a row with gaps.
                larger[shape.length - 1] = 2 * shape[shape.length - 1];
                long[] strides = Tensor.allocate(good.dtype(), larger).strides();
                strides[shape.length - 1] = 2;
                yield Tensor.wrap(Tensor.allocate(good.dtype(), larger).segment(), good.dtype(), good.shape(), strides);
            }
            default -> null;
        };
    }

    private long[] shapeOfSums(int more) {
        long length = p.queries + more;
        return p.ragged ? new long[] {p.queryHeads, length} : new long[] {p.batch, p.queryHeads, length};
    }

    private Tensor spoiledSums() {
        return random.of(
                Tensor.allocate(DType.F32, shapeOfSums(1)),
                Tensor.allocate(DType.F32, p.queries),
                Tensor.allocate(DType.BF16, shapeOfSums(0)),
                Unreachable.closed(DType.F32, shapeOfSums(0)),
                Unreachable.foreign(DType.F32, shapeOfSums(0)));
    }

    private Tensor spoiledVector() {
        return random.of(
                Tensor.allocate(DType.F32, p.queryHeads + 1),
                Tensor.allocate(DType.F32, 1, p.queryHeads),
                Tensor.allocate(DType.F16, p.queryHeads),
                Unreachable.closed(DType.F32, p.queryHeads),
                Unreachable.foreign(DType.F32, p.queryHeads));
    }

    private BlockMask spoiledMask() {
        int longer = p.ragged ? 0 : random.between(1, 20);
        BlockGrid grid = new BlockGrid(p.queries + longer, p.keys + random.of(0, longer), 16, 16);
        int more = longer == 0 ? 1 : random.between(0, 1);
        return random.chance(0.5)
                ? BlockMask.random(grid, p.batch + more, p.queryHeads, 1, false, 1)
                : BlockMask.random(grid, p.batch, p.queryHeads + more, 1, false, 1);
    }

    /** Tensors with a batch axis, or too few rows for one of them. */
    private void spoilSequences() {
        int more = random.between(0, 1);
        p.options = p.options.withSequences(
                Sequences.of(new int[] {0, p.queries + more}, new int[] {0, p.keys + 1 - more}));
    }

    /** Good arguments, but for an output that begins where another argument has not ended. */
    private void overlap() {
        p.v = Tensor.allocate(DType.F32, 1, 1, 5, 8);
        p.k = p.v;
        Tensor both = Tensor.allocate(DType.F32, 79);
        p.q = Tensor.wrap(both.segment(), DType.F32, 1, 1, 5, 8);
        p.out = Tensor.wrap(both.slice(0, 39, 79).segment(), DType.F32, 1, 1, 5, 8);
        p.options = Options.DEFAULT;
        if (random.chance(0.5)) {
            p.out = null;
            p.v = null;
            p.options = Options.DEFAULT.withLse(
                    Tensor.wrap(both.slice(0, random.between(0, 39), 79).segment(), DType.F32, 1, 1, 5));
        }
    }

    private Selection spoiledSelection() {
        Selection means = Selection.means();
        Tensor bad = Tensor.allocate(DType.F32, p.batch, p.queryHeads);
        bad.setFloat(random.of(-0.1f, 1.1f, Float.NaN), p.batch - 1, p.queryHeads - 1);
        Tensor good = Tensor.allocate(DType.F32, p.batch, p.queryHeads);
        return switch (random.between(0, 5)) {
            case 0 -> Selection.proxy(7);
            case 1 -> means.withBudgets(bad);
            case 2 -> Selection.aShape(3, 3).withBudgets(good);
            case 3 -> means.withBudgets(spoiledPerHead(good));
            case 4 -> means.withDensity(random.chance(0.3) ? Unreachable.readOnly(good) : spoiledPerHead(good));
            default -> Selection.mass(spoiledSums());
        };
    }

    private Tensor spoiledPerHead(Tensor good) {
        return random.of(
                RandomArguments.elsewhere(random, good),
                Tensor.allocate(DType.F32, p.batch, p.queryHeads + 1),
                Tensor.allocate(DType.F32, p.batch * p.queryHeads),
                Tensor.allocate(DType.F16, p.batch, p.queryHeads));
    }

    /** Options that cannot be made. */
    private Runnable option() {
        Options given = p.options;
        return random.of(
                () -> given.withScale(random.of(Float.NaN, Float.POSITIVE_INFINITY)),
                () -> given.withSoftCap(random.of(-1f, Float.NaN, Float.POSITIVE_INFINITY)),
                () -> given.withThreads(random.of(-1, 1025)),
                () -> given.withWindow(random.between(-9, -2), 0),
                () -> given.withWindow(0, random.between(-9, -2)),
                () -> given.withSinkKeys(-1),
                () -> given.withLayout(null),
                () -> given.withMode(null),
                () -> given.withWindow(null),
                () -> Sequences.of(new int[] {0, 2, 1}, new int[3]),
                () -> Selection.means().withKeepMass(random.of(-0.1, 1.1, Double.NaN)),
                () -> Selection.means().withBlocks(random.of(0, 8, 24, 144), 16),
                () -> Selection.antidiagonal().withStride(random.of(0, 3, 32)),
                () -> Selection.means().withLastQueries(random.of(0, 1025)),
                () -> Selection.proxy(0));
    }

    /** The list of blocks is good for the second item, but the first one has fewer keys. */
    private void beyondKeys() {
        BlockMask mask = BlockMask.random(new BlockGrid(1, 17, 16, 16), 1, 1, 1, false, 1);
        p.q = Tensor.allocate(DType.F32, 1, 2, 8);
        p.k = Tensor.allocate(DType.F32, 1, 20, 8);
        p.v = p.k;
        p.out = Tensor.allocate(DType.F32, 1, 2, 8);
        Sequences items = Sequences.of(new int[] {0, 1, 2}, new int[] {0, random.between(0, 3), 20});
        p.options = Options.DEFAULT.withSequences(items).withMask(mask);
    }

    @Override
    void run() {
        call.run();
    }

    @Override
    Consumer<String> expected() {
        Selection selection = p.options.selection();
        if (selection == null) {
            return p::check;
        }
        BlockMask chosen = selection.select(p.q, p.k, p.options);
        Options same = p.options.withSelection(null).withMask(chosen);
        return context -> {
            p.check(same, context);
            for (int b = 0; b < p.batch; b++) {
                for (int h = 0; h < p.queryHeads; h++) {
                    assertEquals(share(chosen, b, h, context), density.getFloat(b, h), 1e-6, context);
                }
            }
        };
    }

    /** Of the blocks that have a pair of a query and a key which options do not hide. */
    private double share(BlockMask chosen, int b, int h, String context) {
        AttentionOracle all = new AttentionOracle(p.q, p.k, p.v, p.options.withSelection(null));
        BlockGrid grid = chosen.grid();
        int kept = 0;
        int allowed = 0;
        for (int qb = 0; qb < grid.queryBlocks(); qb++) {
            for (int kb = 0; kb < grid.keyBlocks(); kb++) {
                boolean any = all.seesSome(b, h, qb, kb, grid, p.queriesOf(b), p.keysOf(b));
                boolean full = chosen.isFull(b, h, qb, kb);
                assertTrue(any || !full, context + " chose a hidden block");
                allowed += any ? 1 : 0;
                kept += full ? 1 : 0;
            }
        }
        return allowed == 0 ? 0 : (double) kept / allowed;
    }

    @Override
    boolean unchanged() {
        assertArrayEquals(outBefore, bytes(out));
        assertArrayEquals(lseBefore, bytes(lse));
        assertArrayEquals(densityBefore, bytes(density));
        return true;
    }
}
