package io.gatun.ops;

import static io.gatun.ops.Refusals.f32;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import java.util.Arrays;
import java.util.Comparator;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

class RowOrderTest {
    private static int[] head(Tensor order, int b, int h) {
        int length = (int) order.shape().size(2);
        return IntStream.range(0, length).map(i -> order.getInt(b, h, i)).toArray();
    }

    /** Rows of eight directions, mixed: each direction ends up as one stretch, its rows in their order. */
    @Test
    void similarRowsBecomeNeighbours() {
        Random random = new Random(2);
        for (DType dtype : new DType[] {DType.F32, DType.BF16, DType.F16}) {
            Tensor x = Tensor.allocate(dtype, 2, 3, 160, 24);
            float[] directions = random.normal(8 * 24, 1);
            for (int n = 0; n < 6; n++) {
                for (int i = 0; i < 160; i++) {
                    for (int c = 0; c < 24; c++) {
                        x.setFloat(directions[(i * 5 + n) % 8 * 24 + c] * (1 + i), n / 3, n % 3, i, c);
                    }
                }
            }
            Tensor order = RowOrder.lsh(x, 16, 7);
            assertEquals(order.toString(), RowOrder.lsh(x, 16, 7).toString());
            for (int n = 0; n < 6; n++) {
                int[] rows = head(order, n / 3, n % 3);
                assertArrayEquals(
                        IntStream.range(0, 160).toArray(),
                        Arrays.stream(rows).sorted().toArray());
                int changes = 0;
                for (int i = 1; i < 160; i++) {
                    boolean same = rows[i] % 8 == rows[i - 1] % 8;
                    changes += same ? 0 : 1;
                    assertTrue(!same || rows[i] > rows[i - 1], Arrays.toString(rows));
                }
                assertEquals(7, changes, Arrays.toString(rows));
            }
        }
    }

    private static long mix64(long z) {
        z = (z ^ z >>> 30) * 0xbf58476d1ce4e5b9L;
        z = (z ^ z >>> 27) * 0x94d049bb133111ebL;
        return z ^ z >>> 31;
    }

    /** By the definition of gatun/attention_select.h: planes by splitmix64, buckets in the order of the Gray code. */
    @Test
    void buckets() {
        Random random = new Random(4);
        int projections = 7;
        long seed = -5;
        Tensor x = Tensor.of(random.normal(200 * 24, 1), 1, 1, 200, 24);
        int[] bucket = new int[200];
        for (int i = 0; i < 200; i++) {
            int code = 0;
            for (int b = 0; b < projections; b++) {
                double side = 0;
                for (int c = 0; c < 24; c++) {
                    long z = mix64(seed + (256L * b + c + 1) * 0x9e3779b97f4a7c15L);
                    long plane = (z & 0xffff) + (z >>> 16 & 0xffff) + (z >>> 32 & 0xffff) + (z >>> 48) - 131070;
                    side += plane * (double) x.getFloat(0, 0, i, c);
                }
                code |= side > 0 ? 1 << b : 0;
            }
            for (int place = 0; place < 1 << projections; place++) {
                bucket[i] = (place ^ place >>> 1) == code ? place : bucket[i];
            }
        }
        int[] expected = IntStream.range(0, 200)
                .boxed()
                .sorted(Comparator.comparingInt(i -> bucket[i]))
                .mapToInt(i -> i)
                .toArray();
        assertArrayEquals(expected, head(RowOrder.lsh(x, projections, seed), 0, 0));
        assertArrayEquals(expected, head(RowOrder.lsh(x, projections, seed, 1), 0, 0));
    }

    /** Of views with gaps, and back. */
    @Test
    void gatherAndScatter() {
        Random random = new Random(3);
        Tensor x = Tensor.of(random.normal(2 * 3 * 10 * 11, 1), 2, 3, 10, 11).slice(3, 0, 9);
        int[] picked = new int[2 * 3 * 4];
        for (int n = 0; n < 6; n++) {
            for (int i = 0; i < 4; i++) {
                picked[n * 4 + i] = (n + 3 * i) % 10;
            }
        }
        Tensor order = Tensor.of(picked, 2, 3, 4);
        Tensor y = f32(2, 3, 4, 9);
        RowOrder.gather(x, order, y);
        Tensor back = f32(2, 3, 10, 9);
        RowOrder.scatter(y, order, back, 1);
        for (int b = 0; b < 2; b++) {
            for (int h = 0; h < 3; h++) {
                boolean[] moved = new boolean[10];
                for (int i = 0; i < 4; i++) {
                    int from = order.getInt(b, h, i);
                    moved[from] = true;
                    for (int c = 0; c < 9; c++) {
                        assertEquals(x.getFloat(b, h, from, c), y.getFloat(b, h, i, c));
                    }
                }
                for (int i = 0; i < 10; i++) {
                    for (int c = 0; c < 9; c++) {
                        assertEquals(moved[i] ? x.getFloat(b, h, i, c) : 0, back.getFloat(b, h, i, c));
                    }
                }
            }
        }
    }

    @TestFactory
    Stream<DynamicTest> badInput() {
        Tensor x = f32(1, 2, 5, 8);
        Tensor y = f32(1, 2, 3, 8);
        Tensor order = Tensor.of(new int[] {0, 1, 2, 4, 3, 2}, 1, 2, 3);
        Tensor beyond = Tensor.of(new int[] {0, 1, 2, 4, 5, 2}, 1, 2, 3);
        Tensor twice = Tensor.of(new int[] {0, 1, 2, 4, 4, 2}, 1, 2, 3);
        return new Refusals(() -> y.getFloat(0, 1, 1, 1) == 0)
                .missing("x", () -> RowOrder.lsh(null, 7, 1))
                .missing("order", () -> RowOrder.gather(x, null, y))
                .missing("y", () -> RowOrder.gather(x, order, null))
                .add("projections", "projections", "17", "1..16", () -> RowOrder.lsh(x, 17, 1))
                .add("lsh threads", "threads", "-1", "0..1024", () -> RowOrder.lsh(x, 7, 1, -1))
                .add("size", "size of a row of x", "257", "1..256", () -> RowOrder.lsh(f32(1, 1, 1, 257), 7, 1))
                .add("rank", "x", "[5, 8]", "[batch, heads, length, size", () -> RowOrder.lsh(f32(5, 8), 7, 1))
                .add("dtype", "x", "i8", "bf16", () -> RowOrder.lsh(x.to(DType.I8), 7, 1))
                .add("y dtype", "y", "f16", "f32, as x", () -> RowOrder.gather(x, order, y.to(DType.F16)))
                .add(
                        "y heads",
                        "y",
                        "[1, 1, 3, 8]",
                        "of x [1, 2, 5, 8]",
                        () -> RowOrder.gather(x, order, f32(1, 1, 3, 8)))
                .add(
                        "order shape",
                        "order",
                        "[1, 2, 3]",
                        "of y [1, 2, 5, 8]",
                        () -> RowOrder.gather(x, order, f32(1, 2, 5, 8)))
                .add("order dtype", "order", "f32", "[i32]", () -> RowOrder.gather(x, order.to(DType.F32), y))
                .add("overlap", "y", "overlaps x", "own", () -> RowOrder.gather(x, order, x.slice(2, 0, 3)))
                .add(
                        "rows overlap",
                        "y",
                        "strides",
                        "rows apart",
                        () -> RowOrder.gather(x, order, Refusals.view(y, Shape.of(1, 2, 3, 8), 48, 24, 4, 1)))
                .add("threads", "threads", "-1", "0..1024", () -> RowOrder.gather(x, order, y, -1))
                .add("beyond", "order", "5", "4", () -> RowOrder.gather(x, beyond, y))
                .add("twice", "order", "4", "", () -> RowOrder.scatter(f32(1, 2, 3, 8), twice, x))
                .unreachable("x", DType.F32, new long[] {1, 2, 5, 8}, bad -> RowOrder.gather(bad, order, y))
                .unreachable("order", DType.I32, new long[] {1, 2, 3}, bad -> RowOrder.gather(x, bad, y))
                .unreachable("y", DType.F32, new long[] {1, 2, 3, 8}, bad -> RowOrder.gather(x, order, bad))
                .tests();
    }
}
