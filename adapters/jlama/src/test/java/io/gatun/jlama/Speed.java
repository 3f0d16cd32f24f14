package io.gatun.jlama;

import com.github.tjake.jlama.safetensors.DType;
import com.github.tjake.jlama.tensor.AbstractTensor;
import com.github.tjake.jlama.tensor.BFloat16BufferTensor;
import com.github.tjake.jlama.tensor.FloatBufferTensor;
import com.github.tjake.jlama.tensor.Q4ByteBufferTensor;
import com.github.tjake.jlama.tensor.TensorShape;
import com.github.tjake.jlama.tensor.operations.PanamaTensorOperations;
import com.github.tjake.jlama.tensor.operations.TensorOperations;
import com.github.tjake.jlama.util.MachineSpec;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Random;

/**
 * Products of Jlama's shapes on one thread, by Gatun, by jlama-native, and by Jlama's Java code. Contenders take turns;
 * weights rotate through memory beyond the caches. Packing is not timed. Results are compared first: jlama-native 0.8.4
 * leaves some of the last rows and columns unwritten, which the last column counts.
 * README.md has the command; its argument is the jar of jlama-native.
 */
final class Speed {
    private static final long WEIGHT_BYTES = 320L << 20;
    private static final int ROUNDS = 11;

    private record Contender(String name, TensorOperations operations) {}

    private Speed() {}

    public static void main(String[] arguments) throws Exception {
        List<Contender> contenders = List.of(
                new Contender("gatun", GatunTensorOperations.require()),
                new Contender("jlama-native", JlamaNative.load(Path.of(arguments[0]))),
                new Contender("jlama java", new PanamaTensorOperations(MachineSpec.VECTOR_TYPE)));
        System.out.println("one thread; microseconds, median (min..max) of " + ROUNDS);
        System.out.printf("%-10s %6s %6s %4s", "types", "rows", "depth", "M");
        contenders.forEach(contender -> System.out.printf(" %28s", contender.name));
        System.out.printf(" %12s %s%n", "vs native", "not written by it");
        int[][] shapes = {{4096, 4096}, {14336, 4096}};
        for (List<DType> pair : List.of(List.of(DType.I8, DType.Q4), List.of(DType.F32, DType.Q4))) {
            for (int[] shape : shapes) {
                for (int batch : new int[] {1, 8, 128}) {
                    compare(contenders, pair.get(0), pair.get(1), shape[0], shape[1], batch);
                }
            }
        }
        // What Gatun leaves to Jlama: weights of other types, and heads of queries by pages of keys.
        for (List<DType> pair : List.of(
                List.of(DType.F32, DType.F32), List.of(DType.F32, DType.BF16), List.of(DType.BF16, DType.BF16))) {
            compare(contenders, pair.get(0), pair.get(1), 4096, 4096, 1);
            compare(contenders, pair.get(0), pair.get(1), 4096, 4096, 8);
            compare(contenders, pair.get(0), pair.get(1), 1024, 128, 1);
        }
    }

    private static void compare(List<Contender> contenders, DType x, DType w, int rows, int depth, int batch) {
        Random random = new Random(1);
        AbstractTensor a = Oracle.as(x, Oracle.random(random, batch, depth));
        long bytes = (long) rows * depth * (w == DType.Q4 ? 5 : 8 * w.size()) / 8;
        List<AbstractTensor> weights = new ArrayList<>();
        for (long used = 0; weights.isEmpty() || used < WEIGHT_BYTES; used += bytes) {
            weights.add(weights(random, w, rows, depth));
        }
        List<FloatBufferTensor> results = new ArrayList<>();
        for (Contender contender : contenders) {
            FloatBufferTensor result = new FloatBufferTensor(batch, rows);
            for (AbstractTensor b : weights) { // also packs, and warms up
                contender.operations.batchDotProduct(result, a, b, 0, 0, depth, 0, 0, rows);
            }
            results.add(result);
        }
        int unwritten = 0;
        for (FloatBufferTensor result : results) {
            int wrong = wrong(results.get(0), result, result == results.get(1));
            if (result == results.get(1)) {
                unwritten = wrong;
            } else if (wrong > 0) {
                throw new IllegalStateException(wrong + " results of " + x + "x" + w + " differ");
            }
        }
        double[][] micros = new double[contenders.size()][ROUNDS];
        int next = 0;
        for (int round = -3; round < ROUNDS; round++) {
            for (int c = 0; c < contenders.size(); c++) {
                AbstractTensor b = weights.get(next++ % weights.size());
                long begin = System.nanoTime();
                contenders.get(c).operations.batchDotProduct(results.get(c), a, b, 0, 0, depth, 0, 0, rows);
                micros[c][Math.max(round, 0)] = (System.nanoTime() - begin) / 1e3;
            }
        }
        System.out.printf("%-10s %6d %6d %4d", x + "x" + w, rows, depth, batch);
        for (double[] times : micros) {
            Arrays.sort(times);
            String text =
                    String.format(Locale.ROOT, "%.0f (%.0f..%.0f)", times[ROUNDS / 2], times[0], times[ROUNDS - 1]);
            System.out.printf(" %28s", text);
        }
        System.out.printf(Locale.ROOT, " %11.2fx %d%n", micros[1][ROUNDS / 2] / micros[0][ROUNDS / 2], unwritten);
    }

    private static AbstractTensor weights(Random random, DType dtype, int rows, int depth) {
        TensorShape shape = TensorShape.of(rows, depth);
        if (dtype != DType.Q4) {
            AbstractTensor tensor = dtype == DType.F32 ? new FloatBufferTensor(shape) : new BFloat16BufferTensor(shape);
            MemorySegment memory = tensor.getMemorySegment();
            for (long i = 0; i < memory.byteSize() / 4; i++) { // both halves in 0.5..2
                memory.setAtIndex(ValueLayout.JAVA_INT, i, random.nextInt() & 0x00ff00ff | 0x3f003f00);
            }
            return tensor;
        }
        ByteBuffer codes = ByteBuffer.allocateDirect(rows * depth / 2).order(ByteOrder.nativeOrder());
        while (codes.hasRemaining()) {
            codes.putInt(random.nextInt());
        }
        FloatBufferTensor factors = Oracle.random(random, rows, depth / 32);
        return new Q4ByteBufferTensor("weights", codes.flip(), factors, shape, false);
    }

    /** Results that differ, by more than rounding; where zeros are let pass, they are counted, too. */
    private static int wrong(FloatBufferTensor expected, FloatBufferTensor actual, boolean zerosPass) {
        double squares = 0;
        for (int n = 0; n < expected.shape().last(); n++) {
            squares += Math.pow(expected.get(0, n), 2);
        }
        double allowed = 1e-3 * Math.sqrt(squares / expected.shape().last());
        int wrong = 0;
        for (int m = 0; m < expected.shape().first(); m++) {
            for (int n = 0; n < expected.shape().last(); n++) {
                float value = actual.get(m, n);
                if (!(Math.abs(value - expected.get(m, n)) <= allowed)) {
                    if (zerosPass && value != 0) {
                        throw new IllegalStateException(value + " instead of " + expected.get(m, n));
                    }
                    wrong++;
                }
            }
        }
        return wrong;
    }
}
