package io.gatun.ops;

import io.gatun.internal.Check;
import io.gatun.internal.Native;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.function.BiFunction;
import java.util.function.Function;
import java.util.function.Supplier;

/**
 * Several packed weights in one buffer, for one call of {@link QMatmul}: side by side with
 * {@link QMatmul#run(io.gatun.Tensor, PackedStack, io.gatun.Tensor)}, or one for each group of rows with
 * {@link QMatmul#runGrouped(io.gatun.Tensor, long[], PackedStack, io.gatun.Tensor)}. All have one depth and one group;
 * columns, codes, zero points and types of scales may differ, but all take the same {@link PackedWeights#modes}. Each
 * begins at a multiple of 64 bytes from the start of the buffer, so that a stack may be stored and mapped, too.
 */
public final class PackedStack {
    private static final long ALIGNMENT = 64;
    private static final long MAX_COLUMNS = 1L << 52;

    private final MemorySegment segment;
    private final List<PackedWeights> weights;
    private final long columns;
    private final long columnsOfEach;
    private final QMatmulCall.Weights sideBySide;
    private final QMatmulCall.Weights byRows;

    private PackedStack(MemorySegment segment, List<PackedWeights> weights) {
        long sum = 0;
        long each = weights.get(0).rows();
        for (int i = 0; i < weights.size(); i++) {
            long own = weights.get(i).rows();
            if (own > MAX_COLUMNS - sum) {
                throw Check.invalid("weights[" + i + "]", own + " columns after " + sum, "2^52 together");
            }
            if (!weights.get(i).modes().equals(weights.get(0).modes())) {
                throw Check.invalid(
                        "weights[" + i + "]",
                        weights.get(i).spec(),
                        "formats of the modes " + weights.get(0).modes());
            }
            sum += own;
            each = own == each ? each : -1;
        }
        this.segment = segment;
        this.weights = weights;
        columns = sum;
        columnsOfEach = each;
        PackedWeights first = weights.get(0);
        sideBySide = new QMatmulCall.Weights("stack", segment, first.depth(), sum, -1, first.modes());
        byRows = new QMatmulCall.Weights("stack", segment, first.depth(), each, weights.size(), first.modes());
    }

    /** A copy of packed weights in memory that is freed when nothing refers to it any more. */
    public static PackedStack of(List<PackedWeights> weights) {
        return of(weights, Arena.ofAuto());
    }

    /**
     * A copy of packed weights in memory of an arena.
     *
     * @throws IllegalArgumentException if there are none, or their depths or groups differ
     */
    public static PackedStack of(List<PackedWeights> weights, Arena arena) {
        return join(weights, arena, (name, one) -> {
            Check.reachable(name, one.segment());
            return new Part(one.spec(), one.depth(), one.segment().byteSize(), slot -> slot.copyFrom(one.segment()));
        });
    }

    /** Packs quantized weights into memory that is freed when nothing refers to it any more. */
    public static PackedStack pack(List<QuantizedTensor> weights) {
        return pack(weights, Arena.ofAuto());
    }

    /**
     * Packs quantized weights into memory of an arena.
     *
     * @throws IllegalArgumentException if there are none, their depths or groups differ, or
     *     {@link QMatmul#pack(QuantizedTensor)} refuses one
     */
    public static PackedStack pack(List<QuantizedTensor> weights, Arena arena) {
        return join(weights, arena, (name, one) -> {
            one.checkReachable(name);
            QuantizedTensor plain = FlatBlocks.packable(name, one);
            long bytes = PackedHeader.packedBytes(plain);
            return new Part(plain.spec(), plain.depth(), bytes, slot -> PackedWeights.pack(plain, slot));
        });
    }

    /**
     * A stack in memory of others; nothing is copied. O(count): headers are checked, codes and scales are not.
     *
     * @param packed native memory that starts with the first header and may be longer; any alignment, 64 is fastest
     * @param count the number of weights, at least 1
     * @throws IllegalArgumentException if it is no such buffer, is truncated or of another version, or if depths or groups
     *     differ
     */
    public static PackedStack wrap(MemorySegment packed, int count) {
        Check.present("packed", packed);
        Check.range("count", count, 1, Integer.MAX_VALUE);
        List<PackedWeights> found = new ArrayList<>();
        long end = 0;
        for (int i = 0; i < count; i++) {
            long begin = Math.min(aligned(end), packed.byteSize());
            PackedWeights one = at("packed", i, () -> PackedWeights.wrap(packed.asSlice(begin)));
            found.add(one);
            checkAlike(
                    "packed",
                    i,
                    one.spec(),
                    one.depth(),
                    found.get(0).spec(),
                    found.get(0).depth());
            end = begin + one.segment().byteSize();
        }
        return new PackedStack(packed.asSlice(0, end), List.copyOf(found));
    }

    /** One of the weights to come: its shape, its bytes when it is packed, and what writes them into its slot. */
    private record Part(QuantSpec spec, long depth, long bytes, Function<MemorySegment, ?> write) {}

    /** Checks all weights, then writes them one after the other; {@code describe} takes the name of a weight and itself. */
    private static <T> PackedStack join(List<T> weights, Arena arena, BiFunction<String, T, Part> describe) {
        Check.present("weights", weights);
        List<T> given = new ArrayList<>(weights);
        if (given.isEmpty()) {
            throw Check.invalid("weights", "none", "at least one");
        }
        List<Part> parts = new ArrayList<>();
        long[] ends = new long[given.size()];
        for (int i = 0; i < ends.length; i++) {
            String name = "weights[" + i + "]";
            Check.present(name, given.get(i));
            Part part = describe.apply(name, given.get(i));
            parts.add(part);
            checkAlike("weights", i, part.spec, part.depth, parts.get(0).spec, parts.get(0).depth);
            ends[i] = begin(ends, i) + part.bytes;
        }
        MemorySegment packed = allocate(arena, ends[ends.length - 1]);
        for (int i = 0; i < ends.length; i++) {
            Part part = parts.get(i);
            MemorySegment slot = slot(packed, ends, i);
            at("weights", i, () -> part.write.apply(slot));
        }
        return wrap(packed.asReadOnly(), ends.length);
    }

    /** Weights of a stack may be smaller than the huge pages that the stack as a whole fills. */
    private static MemorySegment allocate(Arena arena, long bytes) {
        MemorySegment packed = Check.allocate(arena, bytes, ALIGNMENT);
        Native.preferHugePages(packed);
        return packed;
    }

    private static void checkAlike(
            String argument, int index, QuantSpec spec, long depth, QuantSpec firstSpec, long firstDepth) {
        if (depth != firstDepth || spec.groupOf(depth) != firstSpec.groupOf(firstDepth)) {
            throw Check.invalid(
                    argument + "[" + index + "]",
                    "depth " + depth + ", group " + spec.groupOf(depth),
                    "those of " + argument + "[0], " + firstDepth + " and " + firstSpec.groupOf(firstDepth));
        }
    }

    /** Names the weights that a refusal is about. */
    private static <T> T at(String argument, int index, Supplier<T> call) {
        try {
            return call.get();
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(argument + "[" + index + "]: " + e.getMessage(), e);
        }
    }

    private static long aligned(long bytes) {
        return Math.addExact(bytes, -bytes & ALIGNMENT - 1);
    }

    /** Where weights begin that end at {@code ends[i]}. */
    private static long begin(long[] ends, int i) {
        return i == 0 ? 0 : aligned(ends[i - 1]);
    }

    private static MemorySegment slot(MemorySegment packed, long[] ends, int i) {
        return packed.asSlice(begin(ends, i), ends[i] - begin(ends, i));
    }

    /** The number of weights. */
    public int size() {
        return weights.size();
    }

    /**
     * One of the weights; nothing is copied.
     *
     * @throws IndexOutOfBoundsException if there is none
     */
    public PackedWeights get(int index) {
        if (index < 0 || index >= weights.size()) {
            throw new IndexOutOfBoundsException("index: given " + index + "; allowed: 0.." + (weights.size() - 1));
        }
        return weights.get(index);
    }

    /** The columns of every weight matrix: columns of x. */
    public long depth() {
        return weights.get(0).depth();
    }

    /** The rows of all weight matrices together: columns of the products side by side. */
    public long columns() {
        return columns;
    }

    QMatmulCall.Weights sideBySide() {
        return sideBySide;
    }

    QMatmulCall.Weights byRows() {
        return byRows;
    }

    /** The rows of each weight matrix, or -1 if they differ. */
    long columnsOfEach() {
        return columnsOfEach;
    }

    /** The buffer, headers included: read-only, unless it was wrapped and may be written. */
    public MemorySegment segment() {
        return segment;
    }

    /** Number and shapes: {@code stack of 3, [6144, 4096]}. */
    @Override
    public String toString() {
        return "stack of " + size() + ", [" + columns + ", " + depth() + "]";
    }
}
