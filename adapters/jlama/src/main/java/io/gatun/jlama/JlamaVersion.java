package io.gatun.jlama;

import com.github.tjake.jlama.tensor.operations.TensorOperations;
import java.io.IOException;
import java.io.InputStream;
import java.lang.reflect.Method;
import java.net.URL;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;

/** Whether the Jlama on the class path is the one that this artifact was written for. */
final class JlamaVersion {
    static final String SUPPORTED = "0.8.4";

    private static final String PROPERTIES = "META-INF/maven/com.github.tjake/jlama-core/pom.properties";
    private static final String DROP_IN = "com/github/tjake/jlama/tensor/operations/NativeSimdTensorOperations.class";

    /** What a provider may be asked in {@link #SUPPORTED}, with types by their simple names. */
    private static final Set<String> METHODS = Set.of(
            "String name()",
            "int parallelSplitSize()",
            "float dotProduct(AbstractTensor, AbstractTensor, int)",
            "float dotProduct(AbstractTensor, AbstractTensor, int, int, int)",
            "void batchDotProduct(AbstractTensor, AbstractTensor, AbstractTensor, int, int, int)",
            "void batchDotProduct(AbstractTensor, AbstractTensor, AbstractTensor, int, int, int, int, int, int)",
            "void dotProductChunk(AbstractTensor, AbstractTensor, AbstractTensor, int, int, int, int)",
            "void dotProductBatchChunk(AbstractTensor[], AbstractTensor, AbstractTensor[], int, int, int, int)",
            "void accumulate(AbstractTensor, AbstractTensor, int, int)",
            "void maccumulate(AbstractTensor, AbstractTensor, int, int)",
            "void saxpy(float, AbstractTensor, AbstractTensor, int, int, int)",
            "void saxpy(AbstractTensor, AbstractTensor, AbstractTensor, int, int, int, int, int, int)",
            "void scale(float, AbstractTensor, int, int)",
            "AbstractTensor quantize(AbstractTensor, DType, int, int)",
            "float sum(AbstractTensor)");

    private JlamaVersion() {}

    /** Why Gatun cannot serve what is on the class path, or null. */
    static String problem() {
        ClassLoader loader = JlamaVersion.class.getClassLoader();
        try {
            List<URL> classes = Collections.list(loader.getResources(DROP_IN));
            if (classes.size() > 1) {
                return "jlama-native and gatun-jlama are both on the class path (" + classes
                        + "); allowed: one of them";
            }
            return problem(version(loader), methods());
        } catch (IOException e) {
            return "the class path cannot be read: " + e;
        }
    }

    /** @param version of jlama-core, or null where a repackaged jar does not tell */
    static String problem(String version, Set<String> methods) {
        if (version != null && !version.equals(SUPPORTED)) {
            return "jlama-core " + version + "; allowed: " + SUPPORTED;
        }
        if (!methods.equals(METHODS)) {
            Set<String> difference = new TreeSet<>(methods);
            difference.addAll(METHODS);
            difference.removeIf(method -> methods.contains(method) && METHODS.contains(method));
            return "a jlama-core whose TensorOperations differs in " + difference + "; allowed: " + SUPPORTED;
        }
        return null;
    }

    private static String version(ClassLoader loader) throws IOException {
        try (InputStream content = loader.getResourceAsStream(PROPERTIES)) {
            if (content == null) {
                return null;
            }
            Properties properties = new Properties();
            properties.load(content);
            return properties.getProperty("version");
        }
    }

    static Set<String> methods() {
        return Arrays.stream(TensorOperations.class.getMethods())
                .map(JlamaVersion::signature)
                .collect(Collectors.toSet());
    }

    private static String signature(Method method) {
        return method.getReturnType().getSimpleName() + " " + method.getName()
                + Arrays.stream(method.getParameterTypes())
                        .map(Class::getSimpleName)
                        .collect(Collectors.joining(", ", "(", ")"));
    }
}
