package io.gatun.devices;

import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.ActivationStats;
import io.gatun.ops.Attention;
import io.gatun.ops.BlockGrid;
import io.gatun.ops.BlockMask;
import io.gatun.ops.Calibrate;
import io.gatun.ops.Mask;
import io.gatun.ops.Norm;
import io.gatun.ops.PackedStack;
import io.gatun.ops.PackedWeights;
import io.gatun.ops.Prune;
import io.gatun.ops.QMatmul;
import io.gatun.ops.QuantSpec;
import io.gatun.ops.Quantize;
import io.gatun.ops.QuantizedTensor;
import io.gatun.ops.RowOrder;
import io.gatun.ops.Sparsity;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.reflect.Constructor;
import java.lang.reflect.Executable;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.net.URI;
import java.nio.file.FileSystem;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/**
 * A tensor of another device never gets to a kernel of the CPU: {@link Tensor#segment} is the only way to its memory, and
 * refuses. Its memory here is where a read ends the program.
 */
class OpsOfOtherDevicesTest {
    private final AbsentDevice device = new AbsentDevice("cuda:7");

    private Tensor f32(long... shape) {
        return device.tensor(DType.F32, shape);
    }

    private static Tensor host(long... shape) {
        return Tensor.allocate(DType.F32, shape);
    }

    /** Calls that are right but for the device. */
    @Test
    void opsWithoutKernelsForTheDeviceSaySo() {
        Tensor x = f32(8, 64);
        QuantizedTensor codes = Quantize.run(host(64, 64), QuantSpec.fp8(DType.F8E4M3));
        QuantizedTensor far = QuantizedTensor.allocate(device, Arena.global(), codes.spec(), 8, 64);
        PackedWeights w = QMatmul.pack(host(64, 64), QuantSpec.int4(32));
        Sparsity.Nm pattern = Sparsity.nm(2, 4);
        Mask mask = Mask.of(host(8, 64));
        Tensor q = f32(1, 2, 8, 64);

        refused("Norm.layer", () -> Norm.layer(x, null, null, 1e-5f, f32(8, 64)));
        refused("Norm.rms", () -> Norm.rms(host(8, 64), f32(64), null, 1e-5f, host(8, 64)));
        Tensor sums = f32(1, 2, 8);
        refused("Attention.recall", () -> Attention.recall(sums, sums));
        refused("Attention.correction", () -> Attention.correction(sums, sums));
        refused(
                "BlockMask.ofBsr",
                () -> BlockMask.ofBsr(
                        new BlockGrid(64, 64, 16, 16),
                        16,
                        16,
                        device.tensor(DType.I32, 5),
                        device.tensor(DType.I32, 4)));
        refused("Calibrate.amax", () -> Calibrate.amax(x));
        refused("ActivationStats.observe", () -> ActivationStats.of(64).observe(x));
        refused("Mask.of", () -> Mask.of(x));
        refused("Mask.apply", () -> mask.apply(x));
        refused("Prune.run", () -> Prune.run(x, Prune.Score.magnitude(), pattern));
        refused("RowOrder.lsh", () -> RowOrder.lsh(q, 8, 1));
        refused("PackedStack.pack", () -> PackedStack.pack(List.of(far)));
        PackedStack stack = PackedStack.of(List.of(w));
        refused("QMatmul.run", () -> QMatmul.run(x, stack, f32(8, 64)));
        refused("QMatmul.runGrouped", () -> QMatmul.runGrouped(x, new long[] {8}, stack, f32(8, 64)));
    }

    private static void refused(String operation, org.junit.jupiter.api.function.Executable call) {
        DeviceTest.assertRefused(operation, call);
    }

    /** Every public method that takes a tensor, with many combinations of tensors: refused, whatever the reason. */
    @Test
    void noPublicMethodReadsTheMemory() throws Exception {
        Map<String, Integer> refusals = new TreeMap<>();
        for (Class<?> type : classes()) {
            List<Executable> calls = new ArrayList<>(List.of(type.getConstructors()));
            Stream.of(type.getDeclaredMethods())
                    .filter(method ->
                            Modifier.isPublic(method.getModifiers()) && Modifier.isStatic(method.getModifiers()))
                    .forEach(calls::add);
            for (Executable call : calls) {
                if (List.of(call.getParameterTypes()).contains(Tensor.class)) {
                    for (Tensor tensor : tensors()) {
                        attempt(call, tensor, refusals);
                    }
                }
            }
        }
        assertTrue(refusals.size() >= 10, refusals::toString);
    }

    private List<Tensor> tensors() {
        List<Tensor> tensors = new ArrayList<>();
        for (DType dtype : List.of(DType.F32, DType.F16, DType.U8, DType.I32)) {
            tensors.add(device.tensor(dtype, 64));
            tensors.add(device.tensor(dtype, 64, 64));
            tensors.add(device.tensor(dtype, 1, 64, 64));
            tensors.add(device.tensor(dtype, 1, 2, 64, 64));
        }
        return tensors;
    }

    private void attempt(Executable call, Tensor tensor, Map<String, Integer> refusals)
            throws ReflectiveOperationException {
        Object[] arguments = new Object[call.getParameterCount()];
        for (int i = 0; i < arguments.length; i++) {
            arguments[i] = argument(call.getParameterTypes()[i], tensor);
        }
        try {
            if (call instanceof Constructor<?> constructor) {
                constructor.newInstance(arguments);
            } else {
                ((Method) call).invoke(null, arguments);
            }
        } catch (InvocationTargetException e) {
            if (String.valueOf(e.getCause().getMessage()).contains("it has no kernel for cuda:7")) {
                refusals.merge(call.getDeclaringClass().getSimpleName() + "." + call.getName(), 1, Integer::sum);
            }
        }
    }

    private static Object argument(Class<?> type, Tensor tensor) throws ReflectiveOperationException {
        if (type == Tensor.class) {
            return tensor;
        }
        if (type == int.class) {
            return 4;
        }
        if (type == long.class) {
            return 64L;
        }
        if (type == float.class) {
            return 1f;
        }
        if (type == double.class) {
            return 1.0;
        }
        if (type == boolean.class) {
            return false;
        }
        if (type == QuantSpec.class) {
            return QuantSpec.int8();
        }
        if (type == QuantSpec.Blocks.class) {
            return new QuantSpec.Blocks(0, 0, false);
        }
        if (type == Sparsity.class || type == Sparsity.Nm.class) {
            return Sparsity.nm(2, 4);
        }
        if (type == Prune.Score.class) {
            return Prune.Score.magnitude();
        }
        if (type.isEnum()) {
            return type.getEnumConstants()[0];
        }
        try {
            return type.getField("DEFAULT").get(null);
        } catch (NoSuchFieldException none) {
            return null;
        }
    }

    private static List<Class<?>> classes() throws Exception {
        URI code =
                Norm.class.getProtectionDomain().getCodeSource().getLocation().toURI();
        Path root = Path.of(code);
        if (Files.isDirectory(root)) {
            return classes(root);
        }
        try (FileSystem jar = FileSystems.newFileSystem(root)) {
            return classes(jar.getPath("/"));
        }
    }

    private static List<Class<?>> classes(Path root) throws IOException, ClassNotFoundException {
        List<Class<?>> classes = new ArrayList<>();
        try (Stream<Path> files = Files.walk(root.resolve("io/gatun/ops"))) {
            for (Path file : files.sorted().toList()) {
                if (file.toString().endsWith(".class")) {
                    String name =
                            root.relativize(file).toString().replace('/', '.').replaceAll("\\.class$", "");
                    Class<?> type = Class.forName(name);
                    if (Modifier.isPublic(type.getModifiers())) {
                        classes.add(type);
                    }
                }
            }
        }
        return classes;
    }
}
