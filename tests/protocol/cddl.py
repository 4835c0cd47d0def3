"""The part of CDDL (RFC 8610) that docs/protocol.md uses: rules, maps, arrays, ? * + / .size"""
import re


def load(page):
    """Return the rules in a page by name."""
    block = re.search(r"```text\n(envelope = .*?)```", page, re.S).group(1)
    text = re.sub(r";.*", "", block)
    rules = {}
    for name, body in re.findall(r"^(\w+) = (.*?)(?=^\w+ = |\Z)", text, re.S | re.M):
        rules[name] = _type(re.findall(r"=>|\.size|[\w]+|[^\s\w]", body))
    return rules


def _type(tokens):
    choices = [_one(tokens)]
    while tokens and tokens[0] == "/":
        tokens.pop(0)
        choices.append(_one(tokens))
    return ("choice", choices) if len(choices) > 1 else choices[0]


def _one(tokens):
    token = tokens.pop(0)
    if token == "{":
        fields = {}
        while tokens[0] != "}":
            optional = tokens[0] == "?" and bool(tokens.pop(0))
            key = int(tokens.pop(0))
            assert tokens.pop(0) == "=>"
            fields[key] = (optional, _type(tokens))
            _comma(tokens)
        tokens.pop(0)
        return ("map", fields)
    if token == "[":
        items = []
        while tokens[0] != "]":
            many = tokens.pop(0) if tokens[0] in "*+" else ""
            items.append((many, _type(tokens)))
            _comma(tokens)
        tokens.pop(0)
        return ("array", items)
    if tokens and tokens[0] == ".size":
        tokens.pop(0)
        return ("size", token, int(tokens.pop(0)))
    return ("literal", int(token)) if token.isdigit() else ("name", token)


def _comma(tokens):
    if tokens[0] == ",":
        tokens.pop(0)


def check(rules, kind, value):
    """Fail unless the value is of a type, given by its name or as load returns it."""
    if isinstance(kind, str):
        kind = ("name", kind)
    what, arguments = kind[0], kind[1:]
    if what == "name":
        name = arguments[0]
        if name in rules:
            return check(rules, rules[name], value)
        plain = {
            "bstr": lambda: type(value) is bytes, "tstr": lambda: type(value) is str, "true": lambda: value is True,
            "uint": lambda: type(value) is int and value >= 0, "int": lambda: type(value) is int,
        }
        assert plain[name](), f"{value!r} is no {name}"
    elif what == "literal":
        assert type(value) is int and value == arguments[0], f"{value!r} is not {arguments[0]}"
    elif what == "size":
        assert arguments[0] == "bstr" and type(value) is bytes and len(value) == arguments[1], f"{value!r}: size"
    elif what == "choice":
        assert any(_is(rules, choice, value) for choice in arguments[0]), f"{value!r} is none of the choices"
    elif what == "map":
        fields = arguments[0]
        assert type(value) is dict and set(value) <= set(fields), f"{value!r}: keys"
        for key, (optional, kind) in fields.items():
            if key in value:
                check(rules, kind, value[key])
                assert not optional or value[key] not in (b"", "", [], 0, False), f"{key} is there, but empty"
            else:
                assert optional, f"{value!r} lacks {key}"
    elif arguments[0][0][0]:  # an array of any length
        (many, kind), = arguments[0]
        assert type(value) is list and (value or many == "*"), f"{value!r} is no list"
        for element in value:
            check(rules, kind, element)
    else:
        assert type(value) is list and len(value) == len(arguments[0]), f"{value!r}: length"
        for (_, kind), element in zip(arguments[0], value):
            check(rules, kind, element)


def _is(rules, kind, value):
    try:
        check(rules, kind, value)
    except AssertionError:
        return False
    return True
