package io.gatun.bench;

import static io.gatun.bench.AttentionCase.BLOCK;
import static io.gatun.bench.AttentionCase.HEADS;
import static io.gatun.bench.AttentionCase.HEAD_SIZE;

import io.gatun.DType;
import io.gatun.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;
import java.util.stream.IntStream;

/**
 * The input of cases of one length, the same for everybody: q, k and v in f32 [heads, S, head size], standard normal
 * values that bf16 holds exactly, and maps of blocks. The same sizes give the same numbers.
 */
public final class AttentionData implements AutoCloseable {
    private static final int Q = 1;
    private static final int K = 2;
    private static final int V = 3;

    private final Arena arena = Arena.ofShared();
    private final int length;
    private final Tensor q;
    private final Tensor k;
    private final Tensor v;

    /** Makes the input of all cases of so many queries and keys. */
    public AttentionData(int length) {
        this.length = length;
        q = normals(Q);
        k = normals(K);
        v = normals(V);
    }

    private Tensor normals(int seed) {
        int count = length * HEAD_SIZE;
        Tensor values = Tensor.wrap(
                HugePages.allocate(arena, (long) HEADS * count * Float.BYTES), DType.F32, HEADS, length, HEAD_SIZE);
        IntStream.range(0, HEADS).parallel().forEach(head -> {
            SplittableRandom random = new SplittableRandom((long) seed * HEADS + head);
            MemorySegment part = values.segment().asSlice((long) head * count * Float.BYTES);
            for (int i = 0; i < count; i++) {
                part.setAtIndex(ValueLayout.JAVA_FLOAT, i, asBf16((float) random.nextGaussian()));
            }
        });
        return values;
    }

    /** Without the lower half of its bits. */
    private static float asBf16(float value) {
        return Float.intBitsToFloat(Float.floatToRawIntBits(value) & 0xffff0000);
    }

    int length() {
        return length;
    }

    public Tensor q() {
        return q;
    }

    public Tensor k() {
        return k;
    }

    public Tensor v() {
        return v;
    }

    /** An element of one of them. */
    static float at(Tensor values, int length, int head, int row, int i) {
        return values.segment().getAtIndex(ValueLayout.JAVA_FLOAT, ((long) head * length + row) * HEAD_SIZE + i);
    }

    /**
     * Which blocks of keys blocks of queries see, [heads, blocks, blocks] of 0 and 1: in each head the percent of the
     * case of those that a query may see, any with the same probability, except that causal ones keep the diagonal.
     */
    public static byte[] map(AttentionCase problem) {
        int blocks = problem.blocks();
        byte[] map = new byte[HEADS * blocks * blocks];
        IntStream.range(0, HEADS).parallel().forEach(head -> keep(problem, map, head));
        return map;
    }

    private static void keep(AttentionCase problem, byte[] map, int head) {
        SplittableRandom random = new SplittableRandom(1000 * problem.percent() + head);
        int blocks = problem.blocks();
        long allowed = allowedBlocks(problem);
        long keep = Math.round(allowed * problem.percent() / 100.0);
        long choices = allowed;
        int first = head * blocks * blocks;
        if (problem.causal()) {
            keep = Math.max(keep, blocks) - blocks;
            choices -= blocks;
        }
        for (int row = 0; row < blocks; row++) {
            int end = problem.causal() ? row : blocks;
            for (int column = 0; column < end; column++) {
                if (random.nextLong(choices--) < keep) {
                    map[first + row * blocks + column] = 1;
                    keep--;
                }
            }
            if (problem.causal()) {
                map[first + row * blocks + row] = 1;
            }
        }
    }

    /** Blocks of one head that hold a key that a query sees. */
    static long allowedBlocks(AttentionCase problem) {
        long blocks = problem.blocks();
        return problem.causal() ? blocks * (blocks + 1) / 2 : blocks * blocks;
    }

    /** Kept blocks over allowed ones. */
    static double density(AttentionCase problem, byte[] map) {
        return (double) IntStream.range(0, map.length).filter(i -> map[i] != 0).count()
                / (HEADS * allowedBlocks(problem));
    }

    /** Pairs of a query and a key that it sees, on average of a head. */
    public static double pairs(AttentionCase problem) {
        return problem.kind() == AttentionCase.Kind.SPARSE ? pairs(problem, map(problem)) : problem.densePairs();
    }

    /** The same of a map's blocks. */
    static double pairs(AttentionCase problem, byte[] map) {
        int blocks = problem.blocks();
        return IntStream.range(0, map.length)
                        .filter(i -> map[i] != 0)
                        .mapToLong(i -> pairs(problem, i / blocks % blocks, i % blocks))
                        .sum()
                / (double) HEADS;
    }

    private static long pairs(AttentionCase problem, int row, int column) {
        long rows = Math.min(BLOCK, problem.length() - row * BLOCK);
        return problem.causal() && row == column
                ? rows * (rows + 1) / 2
                : rows * Math.min(BLOCK, problem.length() - column * BLOCK);
    }

    @Override
    public void close() {
        arena.close();
    }
}
