"use strict";
// Draws /openapi.json. Everything goes in as text, never as HTML.

function element(kind, text, parent, className) {
  const made = document.createElement(kind);
  if (text) made.textContent = text;
  if (className) made.className = className;
  if (parent) parent.append(made);
  return made;
}

function nameOf(reference) {
  return reference.slice(reference.lastIndexOf("/") + 1);
}

// A schema in a few words: "list of 28 list of 28 number 0..255", "DrawingQuery", "text or null".
function words(schema) {
  if (!schema || Object.keys(schema).length === 0) return "anything";
  if (schema.$ref) return nameOf(schema.$ref);
  const either = schema.anyOf || schema.oneOf;
  if (either) return either.map(words).join(" or ");
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (schema.type === "array") return `list of ${count(schema)}${words(schema.items)}`;
  if (schema.type === "object") {
    return schema.additionalProperties ? `{text: ${words(schema.additionalProperties)}}` : "object";
  }
  const names = {
    string: schema.contentMediaType || schema.format === "binary" ? "file" : "text",
    integer: "whole number",
    boolean: "true or false",
  };
  return (names[schema.type] || schema.type) + range(schema);
}

function count(schema) {
  const { minItems: least, maxItems: most } = schema;
  if (least === undefined && most === undefined) return "";
  return least === most ? `${least} ` : `${least ?? 0} to ${most ?? "any"} `;
}

function range(schema) {
  const above = schema.exclusiveMinimum;
  const low = schema.minimum ?? above;
  const high = schema.maximum;
  if (low === undefined && high === undefined) return "";
  return ` ${above === undefined ? "" : "above "}${low ?? ""}..${high ?? ""}`;
}

function fields(schema, parent) {
  const rows = Object.entries(schema.properties || {});
  if (rows.length === 0) return;
  const table = element("table", "", element("div", "", parent, "wide"));
  const head = element("tr", "", table);
  for (const title of ["field", "what", "about"]) element("th", title, head);
  for (const [name, field] of rows) {
    const row = element("tr", "", table);
    element("code", name, element("td", "", row));
    const must = (schema.required || []).includes(name);
    const unless = must || field.default === undefined ? "" : `, ${JSON.stringify(field.default)} unless given`;
    element("td", words(field) + unless, row);
    element("td", field.description || "", row, "quiet");
  }
}

function resolved(api, schema) {
  return schema.$ref ? api.components.schemas[nameOf(schema.$ref)] : schema;
}

function example(api, schema) {
  const found = {};
  for (const [name, field] of Object.entries(resolved(api, schema).properties || {})) {
    const given = field.examples || (field.anyOf || []).flatMap((one) => one.examples || []);
    if (given.length) found[name] = given[0];
    else if ("const" in field) found[name] = field.const;
    else if (field.enum && !("default" in field)) found[name] = field.enum[0];
    else if ("default" in field && field.default !== null) found[name] = field.default;
  }
  return found;
}

function operation(api, path, verb, about, parent) {
  const box = element("details", "", parent);
  box.id = `${verb}${path}`;
  const title = element("summary", "", box);
  element("span", verb.toUpperCase(), title, "verb");
  element("code", path, title);
  element("span", ` ${about.description || ""}`, title, "quiet");
  for (const [kind, { schema }] of Object.entries(about.requestBody?.content || {})) {
    const choices = schema.oneOf || [schema];
    for (const choice of choices) {
      element("p", `Body, ${kind}: ${words(choice)}`, box);
      fields(resolved(api, choice), box);
      if (kind !== "application/json") continue;
      const folded = element("details", "", box);
      element("summary", "Example", folded);
      element("pre", JSON.stringify(example(api, choice)), folded);
    }
  }
  const table = element("table", "", element("div", "", box, "wide"));
  for (const [status, answer] of Object.entries(about.responses)) {
    const row = element("tr", "", table);
    element("td", status, row);
    const [kind, content] = Object.entries(answer.content || {})[0] || ["", {}];
    const what = kind === "application/json" ? words(content.schema) : kind;
    element("td", what, row);
    element("td", answer.description, row, "quiet");
  }
}

async function show() {
  const answer = await fetch("/openapi.json");
  const api = await answer.json();
  document.getElementById("summary").textContent = `Version ${api.info.version}. ${api.info.summary}`;
  const index = document.getElementById("index");
  const paths = document.getElementById("paths");
  for (const [path, verbs] of Object.entries(api.paths)) {
    for (const [verb, about] of Object.entries(verbs)) {
      const link = element("a", "", index);
      link.href = `#${verb}${path}`;
      element("span", verb.toUpperCase(), link, "verb");
      element("code", path, link);
      operation(api, path, verb, about, paths);
      link.addEventListener("click", () => {
        document.getElementById(`${verb}${path}`).open = true;
      });
    }
  }
  const schemas = document.getElementById("schemas");
  for (const [name, schema] of Object.entries(api.components.schemas)) {
    const box = element("details", "", schemas);
    element("code", name, element("summary", "", box));
    element("p", schema.description || "", box, "quiet");
    fields(schema, box);
  }
}

show().catch((error) => {
  document.getElementById("summary").textContent = `/openapi.json could not be read: ${error.message}`;
});
