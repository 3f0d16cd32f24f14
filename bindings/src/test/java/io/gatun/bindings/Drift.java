package io.gatun.bindings;

import io.gatun.bindings.CHeader.Variable;
import io.gatun.bindings.c.gatun_h;
import java.lang.foreign.AddressLayout;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.PaddingLayout;
import java.lang.foreign.StructLayout;
import java.lang.foreign.ValueLayout;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;

/** Where the generated Java and the C headers say different things. */
final class Drift {
    private static final String DESCRIPTOR = "$descriptor";

    private Drift() {}

    /** A line for each difference; the generated classes are one of functions and constants, and one a struct. */
    static List<String> between(CHeader header, Class<?> functions, Set<String> javaStructs)
            throws ReflectiveOperationException {
        TreeMap<String, String> c = new TreeMap<>();
        header.functions().forEach((name, signature) -> c.put(name + "()", signature.toString()));
        header.structs().forEach((name, fields) -> c.put("struct " + name, offsets(fields)));
        header.constants().forEach((name, value) -> c.put(name, value.toString()));

        TreeMap<String, String> java = new TreeMap<>();
        for (Method method : functions.getMethods()) {
            String name = method.getName();
            if (name.endsWith(DESCRIPTOR)) {
                String function = name.substring(0, name.length() - DESCRIPTOR.length());
                java.put(function + "()", signature(functions, function).toString());
            } else if (name.startsWith("GATUN_")) {
                java.put(name, method.invoke(null).toString());
            }
        }
        for (String name : javaStructs) {
            java.put("struct " + name, layout(name));
        }

        Set<String> names = new TreeSet<>(c.keySet());
        names.addAll(java.keySet());
        List<String> differences = new ArrayList<>();
        for (String name : names) {
            if (!c.getOrDefault(name, "").equals(java.get(name))) {
                differences.add(name + "\n  C:    " + c.get(name) + "\n  Java: " + java.get(name));
            }
        }
        return differences;
    }

    private static List<Variable> signature(Class<?> functions, String function) throws ReflectiveOperationException {
        Method method = Arrays.stream(functions.getMethods())
                .filter(m -> m.getName().equals(function))
                .findAny()
                .orElseThrow();
        FunctionDescriptor descriptor =
                (FunctionDescriptor) functions.getMethod(function + DESCRIPTOR).invoke(null);
        List<Variable> signature = new ArrayList<>();
        signature.add(new Variable(descriptor.returnLayout().map(Drift::type).orElse("void"), function));
        for (int i = 0; i < method.getParameterCount(); i++) {
            String type = type(descriptor.argumentLayouts().get(i));
            signature.add(new Variable(type, method.getParameters()[i].getName()));
        }
        return signature;
    }

    private static String layout(String struct) throws ReflectiveOperationException {
        Class<?> type = Class.forName(gatun_h.class.getPackageName() + "." + struct);
        StructLayout layout = (StructLayout) type.getMethod("layout").invoke(null);
        StringBuilder text = new StringBuilder();
        for (MemoryLayout member : layout.memberLayouts()) {
            if (!(member instanceof PaddingLayout)) {
                String name = member.name().orElseThrow();
                long offset = layout.byteOffset(MemoryLayout.PathElement.groupElement(name));
                text.append(offset)
                        .append(' ')
                        .append(new Variable(type(member), name))
                        .append(", ");
            }
        }
        return text + "size " + layout.byteSize();
    }

    /** The same text from the fields as C lays them out: each at the next multiple of its size. */
    private static String offsets(List<Variable> fields) {
        StringBuilder text = new StringBuilder();
        long offset = 0;
        long alignment = 1;
        for (Variable field : fields) {
            long size = field.type().equals("int64_t") || field.type().equals("pointer") ? 8 : 4;
            offset = Math.ceilDiv(offset, size) * size;
            text.append(offset).append(' ').append(signed(field)).append(", ");
            offset += size;
            alignment = Math.max(alignment, size);
        }
        return text + "size " + Math.ceilDiv(offset, alignment) * alignment;
    }

    private static Variable signed(Variable field) {
        return field.type().equals("uint32_t") ? new Variable("int32_t", field.name()) : field;
    }

    /** Java has no unsigned types: a uint32_t is an int32_t here. */
    private static String type(MemoryLayout layout) {
        return switch (layout) {
            case ValueLayout.OfInt _ -> "int32_t";
            case ValueLayout.OfLong _ -> "int64_t";
            case ValueLayout.OfFloat _ -> "float";
            case AddressLayout _ -> "pointer";
            default -> layout.toString();
        };
    }
}
