package io.gatun.ops;

import static io.gatun.ops.Refusals.f32;
import static io.gatun.ops.Refusals.view;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.ops.QMatmul.Options;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/**
 * What every product x w^T with packed weights refuses alike.
 *
 * @param <W> the packed weights
 */
abstract class ProductBadInput<W> {
    static final int ROWS = 4;
    static final int COLUMNS = 6;
    static final int DEPTH = 40;

    final Random random = new Random(41);
    final Tensor x = Tensor.of(random.normal(ROWS * DEPTH, 1), ROWS, DEPTH);
    final Guarded out = Guarded.matrix(DType.F32, ROWS, COLUMNS);
    final Tensor y = out.tensor;

    /** Good weights [COLUMNS, DEPTH], the same ones at every call. */
    abstract W w();

    /** The same ones in memory of an arena. */
    abstract W packedIn(Arena arena);

    /** Others of the same format. */
    abstract W weights(int columns, int depth);

    abstract MemorySegment segment(W weights);

    abstract W wrap(MemorySegment packed);

    abstract void unpack(W weights);

    abstract void run(Tensor x, W w, Tensor y, Options options);

    void run(Tensor x, W w, Tensor y) {
        run(x, w, y, Options.DEFAULT);
    }

    void run(Options options) {
        run(x, w(), y, options);
    }

    Refusals refusals() {
        return new Refusals(out::unchanged);
    }

    @TestFactory
    Stream<DynamicTest> matrices() {
        W w = w();
        Tensor transposed = f32(DEPTH, ROWS).transpose();
        Tensor repeated = view(x, Shape.of(ROWS, DEPTH), 0, 1);
        Tensor overlappingRows = view(f32(ROWS, COLUMNS), Shape.of(ROWS, COLUMNS), COLUMNS - 1, 1);
        MemorySegment blob = copy(segment(w).byteSize());
        Tensor inBlob = Tensor.wrap(blob.asSlice(64), DType.F32, ROWS, COLUMNS);
        Tensor integers = Tensor.allocate(DType.I32, ROWS, COLUMNS);
        return refusals()
                .add("x depth", "x", "[4, 39]", "[any, 40]", () -> run(f32(ROWS, 39), w, y))
                .add("x rank", "x", "[160]", "[any, 40]", () -> run(f32(160), w, y))
                .add("x dtype", "x", "f16", "[f32, bf16]", () -> run(x.to(DType.F16), w, y))
                .add("x transposed", "x", "strides [1, 4]", "column stride 1", () -> run(transposed, w, y))
                .add("x repeated", "x", "strides [0, 1]", "row stride >= 40", () -> run(repeated, w, y))
                .add("y rows", "y", "[3, 6]", "[4, 6]", () -> run(x, w, f32(3, COLUMNS)))
                .add("y columns", "y", "[4, 7]", "[4, 6]", () -> run(x, w, f32(ROWS, 7)))
                .add("y dtype", "y", "i32", "[f32, bf16]", () -> run(x, w, integers))
                .add("y rows overlap", "y", "strides [5, 1]", ">= 6", () -> run(x, w, overlappingRows))
                .add("y read-only", "y", "read-only", "writable", () -> run(x, w, Unreachable.readOnly(y)))
                .add("y in x", "y", "overlaps x", "of its own", () -> run(x, w, x.slice(1, 34, 40)))
                .add("y in w", "y", "overlaps w", "of its own", () -> run(x, wrap(blob), inBlob))
                .missing("x", () -> run(null, w, y))
                .missing("w", () -> run(x, null, y))
                .missing("y", () -> run(x, w, null))
                .missing("options", () -> run(x, w, y, null))
                .unreachable("x", DType.F32, new long[] {ROWS, DEPTH}, bad -> run(bad, w, y))
                .unreachable("y", DType.F32, new long[] {ROWS, COLUMNS}, bad -> run(x, w, bad))
                .tests();
    }

    @TestFactory
    Stream<DynamicTest> options() {
        Options none = Options.DEFAULT;
        Tensor buffer = f32(ROWS + 1, COLUMNS);
        Options shifted = none.withResidual(buffer.slice(0, 1, ROWS + 1));
        Tensor otherStride = view(f32(ROWS, COLUMNS + 1), Shape.of(ROWS, COLUMNS), COLUMNS + 1, 1);
        Options sameStart = none.withResidual(view(otherStride, Shape.of(ROWS, COLUMNS), COLUMNS, 1));
        Tensor biasAndY = f32(ROWS * COLUMNS + COLUMNS);
        Options biasInY = none.withBias(biasAndY.slice(0, 0, COLUMNS));
        Tensor aroundBias = biasAndY.slice(0, 2, 2 + ROWS * COLUMNS).reshape(ROWS, COLUMNS);
        return refusals()
                .add("bias size", "bias", "[5]", "[6]", () -> run(none.withBias(f32(5))))
                .add("bias rank", "bias", "[1, 6]", "[6]", () -> run(none.withBias(f32(1, 6))))
                .add("bias dtype", "bias", "bf16", "[f32]", () -> run(none.withBias(f32(6).to(DType.BF16))))
                .add(
                        "bias strided",
                        "bias",
                        "strides [2]",
                        "contiguous",
                        () -> run(none.withBias(view(f32(12), Shape.of(6), 2))))
                .add("bias in y", "y", "overlaps bias", "of its own", () -> run(x, w(), aroundBias, biasInY))
                .add("residual shape", "residual", "[6, 4]", "[4, 6]", () -> run(none.withResidual(f32(6, 4))))
                .add("residual dtype", "residual", "bf16", "f32", () -> run(none.withResidual(y.to(DType.BF16))))
                .add(
                        "residual transposed",
                        "residual",
                        "strides [1, 4]",
                        "column stride 1",
                        () -> run(none.withResidual(f32(COLUMNS, ROWS).transpose())))
                .add(
                        "residual shifted",
                        "y",
                        "overlaps residual",
                        "of its own",
                        () -> run(x, w(), buffer.slice(0, 0, ROWS), shifted))
                .add(
                        "residual of another stride",
                        "y",
                        "overlaps residual",
                        "of its own",
                        () -> run(x, w(), otherStride, sameStart))
                .add("columns outside", "columns", "2..7", "0..6", () -> run(none.withColumns(2, 7)))
                .add(
                        "columns begin outside",
                        "columns",
                        "7..6",
                        "0..6",
                        () -> run(new Options(null, null, none.activation(), none.mode(), 0, 7, -1)))
                .unreachable("bias", DType.F32, new long[] {COLUMNS}, bad -> run(none.withBias(bad)))
                .unreachable("residual", DType.F32, new long[] {ROWS, COLUMNS}, bad -> run(none.withResidual(bad)))
                .tests();
    }

    @TestFactory
    Stream<DynamicTest> buffers() {
        MemorySegment packed = segment(w());
        long bytes = packed.byteSize();
        MemorySegment foreign = Arena.ofAuto().allocate(bytes, 64).fill((byte) 7);
        MemorySegment otherVersion = copy(bytes);
        otherVersion.set(ValueLayout.JAVA_BYTE, 8, (byte) 99);
        MemorySegment heap = MemorySegment.ofArray(new byte[100]);
        Arena shortLived = Arena.ofConfined();
        W closed = packedIn(shortLived);
        shortLived.close();
        Class<IllegalStateException> state = IllegalStateException.class;
        return refusals()
                .add("truncated", "packed", "" + (bytes - 1), "" + bytes, () -> wrap(packed.asSlice(0, bytes - 1)))
                .add("less than a header", "packed", "63", "64", () -> wrap(packed.asSlice(0, 63)))
                .add("empty", "packed", "0", "64", () -> wrap(packed.asSlice(0, 0)))
                .add("foreign", "packed", "", "", () -> wrap(foreign))
                .add("another version", "packed", "", "version", () -> wrap(otherVersion))
                .add("on the heap", "packed", "heap", "native", () -> wrap(heap))
                .missing("packed", () -> wrap(null))
                .add(state, "w closed", "w", "closed arena", "open", () -> run(x, closed, y))
                .add(state, "unpack closed", "packed", "closed arena", "open", () -> unpack(closed))
                .tests();
    }

    @Test
    void weightsOfAnotherThreadAreRefused() throws InterruptedException {
        try (Arena arena = Arena.ofConfined()) {
            W confined = packedIn(arena);
            String message = Refusals.onAnotherThread(() -> run(x, confined, y));
            assertTrue(message.startsWith("w: given memory of another thread's"), message);
            assertTrue(out.unchanged());
        }
    }

    /** Whoever owns wrapped memory may write to it; a call then refuses it instead of following it out of x and y. */
    @TestFactory
    Stream<DynamicTest> weightsThatChangedAfterTheyWereWrapped() {
        W wider = overwritten(COLUMNS + 1, DEPTH / 2);
        W deeper = overwritten(COLUMNS, DEPTH + 8);
        return refusals()
                .add("run wider", "params.columns", "6", "7", () -> run(x, wider, y))
                .add("run deeper", "params.depth", "40", "48", () -> run(x, deeper, y))
                .add("unpack wider", "packed", "[7, 20]", "[6, 40]", () -> unpack(wider))
                .add("unpack deeper", "packed", "[6, 48]", "[6, 40]", () -> unpack(deeper))
                .tests();
    }

    /** The good weights wrapped, and then their memory, which is large enough, overwritten by others. */
    W overwritten(int columns, int depth) {
        MemorySegment packed = segment(weights(columns, depth));
        MemorySegment memory = copy(Math.max(segment(w()).byteSize(), packed.byteSize()));
        W wrapped = wrap(memory);
        memory.copyFrom(packed);
        return wrapped;
    }

    /** The good weights at the begin of so many bytes. */
    private MemorySegment copy(long bytes) {
        return Arena.ofAuto().allocate(bytes, 64).copyFrom(segment(w()));
    }
}
