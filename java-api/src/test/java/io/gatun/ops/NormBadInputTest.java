package io.gatun.ops;

import static io.gatun.ops.Refusals.f32;

import io.gatun.DType;
import io.gatun.Tensor;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

class NormBadInputTest {
    private static final int ROWS = 4;
    private static final int COLUMNS = 6;

    private final Guarded out = Guarded.matrix(DType.F32, ROWS, COLUMNS);
    private final Tensor y = out.tensor;

    private Refusals refusals() {
        return new Refusals(out::unchanged);
    }

    @TestFactory
    Stream<DynamicTest> norm() {
        Tensor vector = f32(COLUMNS);
        Tensor in = f32(ROWS, COLUMNS);
        Tensor buffer = f32(ROWS + 1, COLUMNS);
        return refusals()
                .add("x dtype", "x", "f16", "[f32, bf16]", () -> Norm.layer(in.to(DType.F16), vector, vector, 1e-5f, y))
                .add("x rank", "x", "[24]", "[any, any]", () -> Norm.rms(f32(24), vector, vector, 1e-5f, y))
                .add(
                        "x transposed",
                        "x",
                        "strides [1, 4]",
                        "column stride 1",
                        () -> Norm.rms(f32(COLUMNS, ROWS).transpose(), vector, vector, 1e-5f, y))
                .add("y shape", "y", "[4, 6]", "[5, 6]", () -> Norm.layer(buffer, vector, vector, 1e-5f, y))
                .add("y dtype", "y", "i8", "[f32, bf16]", () -> Norm.layer(in, vector, vector, 1, in.to(DType.I8)))
                .add(
                        "y read-only",
                        "y",
                        "read-only",
                        "writable",
                        () -> Norm.layer(in, vector, vector, 1e-5f, Unreachable.readOnly(y)))
                .add(
                        "y shifted",
                        "y",
                        "overlaps x",
                        "of its own",
                        () -> Norm.layer(buffer.slice(0, 0, ROWS), vector, vector, 1e-5f, buffer.slice(0, 1, ROWS + 1)))
                .add(
                        "y has weight",
                        "y",
                        "overlaps weight",
                        "of its own",
                        () -> Norm.layer(
                                in, buffer.slice(0, 0, 1).reshape(COLUMNS), vector, 1, buffer.slice(0, 0, ROWS)))
                .add("weight size", "weight", "[4]", "[6]", () -> Norm.layer(in, f32(4), vector, 1e-5f, y))
                .add(
                        "weight dtype",
                        "weight",
                        "bf16",
                        "[f32]",
                        () -> Norm.layer(in, vector.to(DType.BF16), vector, 1e-5f, y))
                .add("bias size", "bias", "[7]", "[6]", () -> Norm.rms(in, vector, f32(7), 1e-5f, y))
                .add("epsilon negative", "epsilon", "-1.0", ">= 0", () -> Norm.layer(in, vector, vector, -1, y))
                .add("epsilon NaN", "epsilon", "NaN", ">= 0", () -> Norm.layer(in, vector, vector, Float.NaN, y))
                .add(
                        "epsilon infinite",
                        "epsilon",
                        "Infinity",
                        "finite",
                        () -> Norm.layer(in, vector, vector, Float.POSITIVE_INFINITY, y))
                .add("threads", "threads", "-1", "0..1024", () -> Norm.layer(in, vector, vector, 1e-5f, y, -1))
                .missing("x", () -> Norm.layer(null, vector, vector, 1e-5f, y))
                .missing("y", () -> Norm.layer(in, vector, vector, 1e-5f, null))
                .unreachable("x", DType.F32, new long[] {ROWS, COLUMNS}, bad -> Norm.layer(bad, vector, null, 1, y))
                .unreachable("y", DType.F32, new long[] {ROWS, COLUMNS}, bad -> Norm.layer(in, vector, null, 1, bad))
                .unreachable("weight", DType.F32, new long[] {COLUMNS}, bad -> Norm.rms(in, bad, null, 1, y))
                .unreachable("bias", DType.F32, new long[] {COLUMNS}, bad -> Norm.rms(in, null, bad, 1, y))
                .tests();
    }
}
