package io.gatun.bindings;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What Gatun's C headers declare. They keep to this grammar, after comments, preprocessor lines and the guards for C++
 * are taken out; anything else is an error:
 *
 * <pre>
 * header    = { function | struct | enum }
 * function  = "GATUN_API" type name "(" ( "void" | variable { "," variable } ) ")" ";"
 * struct    = "typedef" "struct" name "{" { variable ";" } "}" name ";"
 * enum      = "enum" name "{" constant { "," constant } "}" ";"
 * constant  = name "=" number
 * variable  = type name
 * type      = [ "const" ] word { "*" }       (a word without a star: int32_t, uint32_t, int64_t, float; void as result)
 * </pre>
 */
record CHeader(
        Map<String, List<Variable>> functions, Map<String, List<Variable>> structs, Map<String, Integer> constants) {
    /** A field, an argument, or (with the function's name) a result. */
    record Variable(String type, String name) {
        @Override
        public String toString() {
            return type + " " + name;
        }
    }

    private static final Pattern FUNCTION = Pattern.compile("GATUN_API ([^()]*)\\(([^()]*)\\) ?; ?");
    private static final Pattern STRUCT = Pattern.compile("typedef struct (\\w+) ?\\{([^{}]*)\\} ?\\1 ?; ?");
    private static final Pattern ENUM = Pattern.compile("enum \\w+ ?\\{([^{}]*)\\} ?; ?");
    private static final Pattern CONSTANT = Pattern.compile("(\\w+) ?= ?(-?\\d+)");
    private static final Pattern VARIABLE =
            Pattern.compile("(?:(int32_t|uint32_t|int64_t|float|void) |(?:const )?\\w+( ?\\*)+ ?)(\\w+)");

    /** Functions map to the result, then the arguments. */
    static CHeader parse(String text) {
        CHeader header = new CHeader(new LinkedHashMap<>(), new LinkedHashMap<>(), new LinkedHashMap<>());
        String rest = text.replaceAll("(?s)/\\*.*?\\*/", " ")
                .replaceAll("(?s)#ifdef __cplusplus.*?#endif", " ")
                .replaceAll("(?m)^#.*$", " ")
                .replaceAll("\\s+", " ")
                .strip();
        while (!rest.isEmpty()) {
            Matcher matcher;
            if ((matcher = FUNCTION.matcher(rest)).lookingAt()) {
                Variable result = variable(matcher.group(1));
                List<Variable> signature = new ArrayList<>(List.of(result));
                signature.addAll(matcher.group(2).equals("void") ? List.of() : variables(matcher.group(2), ","));
                header.functions.put(result.name, signature);
            } else if ((matcher = STRUCT.matcher(rest)).lookingAt()) {
                header.structs.put(matcher.group(1), variables(matcher.group(2), ";"));
            } else if ((matcher = ENUM.matcher(rest)).lookingAt()) {
                for (String constant : matcher.group(1).split(",")) {
                    Matcher parts = match(CONSTANT, constant);
                    header.constants.put(parts.group(1), Integer.valueOf(parts.group(2)));
                }
            } else {
                throw new IllegalArgumentException("not in the headers' grammar: " + rest);
            }
            rest = rest.substring(matcher.end());
        }
        return header;
    }

    private static List<Variable> variables(String text, String separator) {
        List<Variable> variables = new ArrayList<>();
        for (String variable : text.strip().split(separator)) {
            variables.add(variable(variable));
        }
        return variables;
    }

    private static Variable variable(String text) {
        Matcher parts = match(VARIABLE, text);
        return new Variable(parts.group(1) == null ? "pointer" : parts.group(1), parts.group(3));
    }

    private static Matcher match(Pattern pattern, String text) {
        Matcher matcher = pattern.matcher(text.strip());
        if (!matcher.matches()) {
            throw new IllegalArgumentException("not in the headers' grammar: " + text);
        }
        return matcher;
    }
}
