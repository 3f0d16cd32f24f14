package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Tensor;
import io.gatun.files.Safetensors;
import io.gatun.files.SafetensorsTensor;
import io.gatun.internal.Check;
import io.gatun.ops.Optimizer.Options;
import io.gatun.ops.Optimizer.State;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.NavigableMap;
import java.util.Set;
import java.util.TreeMap;

/** State of an {@link Optimizer} from tensors by name, all of them checked before any is taken, and from and to files. */
final class OptimizerFile {
    /** Files of before may lack it. */
    private static final String STATE = "gatun.state";

    private static final String RULE = "gatun.rule";
    private static final String BLOCK = "gatun.block";
    private static final String STEP = ".step";
    /** Beside the state, in files of bitsandbytes: norms of updates of LAMB and LARS, and once of gradients. */
    private static final List<String> NORMS = List.of(".unorm_vec", ".gnorm_vec");

    /** Codes below are negative: of the dynamic map of 8 bits. */
    private static final int ZERO8 = 127;
    /** And of the signed map of 4 bits. */
    private static final int ZERO4 = 7;

    private final String source;
    private final Map<String, SafetensorsTensor> tensors;

    private OptimizerFile(String source, Map<String, SafetensorsTensor> tensors) {
        this.source = source;
        this.tensors = tensors;
    }

    /** The values of codes of state 1 or 2 in DYNAMIC8. */
    private static final class Maps {
        static final Tensor[] BOTH = {readOnly(CodeBook.DYNAMIC.values()), readOnly(CodeBook.DYNAMIC_UNSIGNED.values())
        };

        private static Tensor readOnly(float[] values) {
            Tensor map = Tensor.of(values, values.length);
            return Tensor.wrap(map.segment().asReadOnly(), DType.F32, values.length);
        }
    }

    static Tensor map(int number) {
        return Maps.BOTH[number - 1];
    }

    static void save(Path file, Options options, State state, Map<String, Tensor> tensors) throws IOException {
        Map<String, String> metadata = new LinkedHashMap<>();
        metadata.put(STATE, state.name());
        metadata.put(RULE, options.rule().name());
        metadata.put(BLOCK, String.valueOf(options.numbers().blockSize(state)));
        List<SafetensorsTensor> stored = tensors.entrySet().stream()
                .map(entry ->
                        SafetensorsTensor.of(entry.getKey(), entry.getValue().to(Device.CPU)))
                .toList();
        Safetensors.write(file, metadata, stored);
    }

    static void load(Path file, Options options, State state, List<ParameterState> parameters) throws IOException {
        try (Arena arena = Arena.ofConfined()) {
            Safetensors opened = Safetensors.open(file, arena);
            metadata(file, opened, STATE, state.name(), "this optimizer has");
            metadata(file, opened, RULE, options.rule().name(), "options say");
            metadata(file, opened, BLOCK, String.valueOf(options.numbers().blockSize(state)), "options say");
            new OptimizerFile(file + ": ", opened.tensors()).load(parameters);
        }
    }

    /** What another program wrote has none. */
    private static void metadata(Path file, Safetensors opened, String name, String expected, String because) {
        String given = opened.metadata().getOrDefault(name, expected);
        if (!given.equals(expected)) {
            throw Check.invalid(file + ": " + name, Check.quote(given), expected + ", as " + because);
        }
    }

    static void load(Map<String, Tensor> tensors, List<ParameterState> parameters) {
        Check.present("tensors", tensors);
        Map<String, SafetensorsTensor> stored = new LinkedHashMap<>();
        tensors.forEach((name, tensor) -> {
            Check.present("name", name);
            String argument = "tensor " + Check.quote(name);
            Check.present(argument, tensor);
            Check.reachable(argument, tensor);
            Check.contiguous(argument, tensor);
            stored.put(name, SafetensorsTensor.of(name, tensor.to(Device.CPU)));
        });
        new OptimizerFile("", stored).load(parameters);
    }

    private void load(List<ParameterState> parameters) {
        Set<String> known = new HashSet<>();
        long[] steps = new long[parameters.size()];
        for (int i = 0; i < steps.length; i++) {
            ParameterState parameter = parameters.get(i);
            parameter.check();
            Map<String, Tensor> parts = parameter.parts();
            NORMS.forEach(norms -> known.add(parameter.name() + norms));
            for (Map.Entry<String, Tensor> part : parts.entrySet()) {
                String name = parameter.name() + part.getKey();
                known.add(name);
                if (part.getKey().equals(STEP)) {
                    steps[i] = steps(name);
                } else {
                    check(name, parameter, part.getKey(), part.getValue());
                }
            }
            if (parameter.rule().keepsSquares() && parameter.hasCodes()) {
                checkCodes(parameter);
            }
        }
        for (Map.Entry<String, SafetensorsTensor> stored : tensors.entrySet()) {
            if (!known.contains(stored.getKey())) {
                throw invalid(
                        stored.getKey(), typeOf(stored.getValue()), "names of state of the optimizer's parameters");
            }
        }
        Map<String, Tensor> targets = targets(parameters);
        checkDisjoint(targets);
        for (int i = 0; i < steps.length; i++) {
            parameters.get(i).steps(steps[i]);
        }
        targets.forEach((name, target) -> copy(tensors.get(name).data(), target));
    }

    private static void copy(MemorySegment data, Tensor target) {
        if (target.device() == Device.CPU) {
            target.segment().copyFrom(data);
            return;
        }
        Tensor aligned = Tensor.allocate(target.dtype(), target.shape().toArray());
        aligned.segment().copyFrom(data);
        target.device().copy(aligned, target);
    }

    /** What is copied, by name: all state but steps and maps. */
    private static Map<String, Tensor> targets(List<ParameterState> parameters) {
        Map<String, Tensor> targets = new LinkedHashMap<>();
        for (ParameterState parameter : parameters) {
            parameter.parts().forEach((suffix, tensor) -> {
                if (!tensor.pointer().isReadOnly() && !suffix.equals(STEP)) {
                    targets.put(parameter.name() + suffix, tensor);
                }
            });
        }
        return targets;
    }

    /** One is copied after the other, so none may lie where another one goes. */
    private void checkDisjoint(Map<String, Tensor> targets) {
        NavigableMap<Long, String> names = new TreeMap<>();
        targets.forEach((name, target) -> names.put(target.address(), name));
        targets.forEach((name, target) -> {
            MemorySegment from = tensors.get(name).data();
            // State overlaps no other state, so what lies before the first one that ends before this ends before it,
            // too.
            Map.Entry<Long, String> other = names.lowerEntry(from.address() + from.byteSize());
            while (other != null
                    && other.getKey() + targets.get(other.getValue()).byteSize() > from.address()) {
                if (from.byteSize() > 0 && !other.getValue().equals(name)) {
                    throw invalid(
                            name,
                            "memory that overlaps the optimizer's own " + Check.quote(other.getValue()),
                            "memory of its own, or where it goes");
                }
                other = names.lowerEntry(other.getKey());
            }
        });
    }

    private long steps(String name) {
        SafetensorsTensor stored = find(name, "i32[], the number of steps");
        MemorySegment data = stored.data();
        Number number = null;
        if (stored.shape().elements() == 1) {
            number = switch (stored.type()) {
                case I32 -> (Number) data.get(JAVA_INT_UNALIGNED, 0);
                case I64 -> (Number) data.get(JAVA_LONG_UNALIGNED, 0);
                case F32 -> (Number) data.get(JAVA_FLOAT_UNALIGNED, 0);
                default -> null;
            };
        }
        double steps = number == null ? -1 : number.doubleValue();
        if (!(steps >= 0 && steps <= ParameterState.MOST_STEPS && steps == Math.rint(steps))) {
            throw invalid(
                    name,
                    typeOf(stored) + (number == null ? "" : " " + number),
                    "i32[], i64[] or f32[], a whole number 0.." + ParameterState.MOST_STEPS);
        }
        return (long) steps;
    }

    private SafetensorsTensor find(String name, String expected) {
        SafetensorsTensor stored = tensors.get(name);
        if (stored == null) {
            throw invalid(name, "none", expected);
        }
        return stored;
    }

    private void check(String name, ParameterState parameter, String suffix, Tensor target) {
        SafetensorsTensor stored = find(name, target.describe());
        if (stored.dtype() != target.dtype() || !stored.shape().equals(target.shape())) {
            String blocks = suffix.startsWith(".absmax")
                    ? ", as blocks have " + parameter.block() + " (Options.withBlockSize)"
                    : "";
            throw invalid(name, typeOf(stored), target.describe() + blocks);
        }
        boolean squares = suffix.endsWith("2") || parameter.rule().keepsSquares();
        if (suffix.startsWith(".qmap")) {
            checkMap(name, stored.data(), target.segment());
        } else if (suffix.startsWith(".absmax")) {
            checkFloats(name, stored.data(), true);
        } else {
            switch (parameter.format()) {
                case F32 -> checkFloats(name, stored.data(), squares);
                case FP8 -> checkSmallFloats(name, stored.data(), squares);
                // All codes stand for numbers.
                case DYNAMIC8, DYNAMIC4 -> {}
            }
        }
    }

    private void checkMap(String name, MemorySegment data, MemorySegment map) {
        long differs = data.mismatch(map);
        if (differs >= 0) {
            long at = differs / Float.BYTES;
            throw invalid(
                    name,
                    data.get(JAVA_FLOAT_UNALIGNED, at * Float.BYTES) + " at " + at,
                    map.get(JAVA_FLOAT_UNALIGNED, at * Float.BYTES) + ", bit for bit");
        }
    }

    private void checkFloats(String name, MemorySegment data, boolean notNegative) {
        float least = notNegative ? 0 : -Float.MAX_VALUE;
        for (long i = 0; i < data.byteSize() / Float.BYTES; i++) {
            float value = data.get(JAVA_FLOAT_UNALIGNED, i * Float.BYTES);
            if (!(value >= least && value <= Float.MAX_VALUE)) {
                throw invalid(name, value + " at " + i, notNegative ? "finite numbers >= 0" : "finite numbers");
            }
        }
    }

    private void checkSmallFloats(String name, MemorySegment data, boolean notNegative) {
        for (long i = 0; i < data.byteSize(); i++) {
            float value = DType.F8E4M3.decode(data.get(JAVA_BYTE, i));
            if (Float.isNaN(value) || notNegative && value < 0) {
                throw invalid(name, value + " at " + i, notNegative ? "numbers >= 0" : "numbers");
            }
        }
    }

    /** State 1 of rules that keep squares in signed codes: none is negative, unless the scale of its block is 0. */
    private void checkCodes(ParameterState parameter) {
        boolean half = parameter.format() == State.DYNAMIC4;
        int zero = half ? ZERO4 : ZERO8;
        String name = parameter.name() + ".state1";
        MemorySegment data = tensors.get(name).data();
        MemorySegment scales = tensors.get(parameter.name() + ".absmax1").data();
        for (long i = 0; i < parameter.count(); i++) {
            int bits = data.get(JAVA_BYTE, half ? i / 2 : i) & 0xff;
            int code = !half ? bits : i % 2 == 0 ? bits >> 4 : bits & 15;
            if (code < zero && scales.get(JAVA_FLOAT_UNALIGNED, i / parameter.block() * Float.BYTES) > 0) {
                throw invalid(name, "code " + code + " at " + i, "codes of numbers >= 0, from " + zero);
            }
        }
    }

    private static String typeOf(SafetensorsTensor stored) {
        return stored.type() + stored.shape().toString();
    }

    private IllegalArgumentException invalid(String name, Object given, Object allowed) {
        return Check.invalid(source + "tensor " + Check.quote(name), given, allowed);
    }
}
