//! The table of operations: what each asks of Revenium's platform, and where each parameter goes.

/// One row.
pub struct Operation {
    pub name: &'static str,
    pub method: Method,
    pub base: Base,
    /// Below the base; `{name}` stands for a parameter, percent-encoded.
    pub path: &'static str,
    pub params: &'static [Param],
    pub body: Body,
    /// The statuses after which it is sent again.
    pub retried: &'static [u16],
    /// It may be sent again after a connection that broke before the answer: doing it twice is the same as once.
    pub repeatable: bool,
    /// It needs a key that may do more than meter.
    pub needs: Needs,
    /// What an answer without a body means.
    pub empty: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Base {
    /// `…/profitstream/v2/api/`, with the team as a parameter of the query.
    Profitstream,
    /// `…/v2/api/ai/enforcement-rules/{team}`.
    Enforcement,
}

/// What the body is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Body {
    None,
    /// An object of the parameters that go there.
    Object,
    /// The value of this parameter alone.
    Just(&'static str),
}

/// What the key must be allowed to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Needs {
    /// Any key will do.
    Any,
    Read,
    Write,
}

pub struct Param {
    /// As callers give it; the same in snake_case will do.
    pub name: &'static str,
    /// As Revenium calls it.
    pub wire: &'static str,
    pub place: Place,
    pub kind: Kind,
    pub required: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    Path,
    Query,
    Body,
}

/// What a parameter may be.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Text that is not blank; in the path or the query also a number.
    Text,
    /// Text of at most so many characters, which may be blank.
    Free(usize),
    /// One of these, in any case.
    Word(&'static [&'static str]),
    /// Three capital letters.
    Currency,
    Number,
    /// 0 or more.
    Count,
    Object,
    Objects,
    /// Revenium wants JSON as text; an object becomes that.
    JsonText,
    /// An array of objects with `key` and `value`.
    Metrics,
}

impl Param {
    const fn required(mut self) -> Param {
        self.required = true;
        self
    }

    const fn wire(mut self, wire: &'static str) -> Param {
        self.wire = wire;
        self
    }
}

const fn path(name: &'static str) -> Param {
    Param { name, wire: name, place: Place::Path, kind: Kind::Text, required: true }
}

const fn query(name: &'static str, kind: Kind) -> Param {
    Param { name, wire: name, place: Place::Query, kind, required: false }
}

const fn body(name: &'static str, kind: Kind) -> Param {
    Param { name, wire: name, place: Place::Body, kind, required: false }
}

/// Revenium's words: contract of its API, v2.
const STATUS: Kind = Kind::Word(&["SUCCESS", "FAILED", "CANCELLED"]);
const OUTCOME: Kind = Kind::Word(&["CONVERTED", "ESCALATED", "DEFLECTED", "UNSUCCESSFUL", "CUSTOM"]);
/// Its limit for a reason.
const REASON: Kind = Kind::Free(2048);

/// The way is in trouble, or too busy.
const BUSY: &[u16] = &[429, 502, 503, 504];
/// Besides, a job that was not ingested yet.
const BUSY_OR_LATE: &[u16] = &[404, 429, 502, 503, 504];
/// It may have been done all the same, and twice would be wrong.
const ONLY_REFUSED: &[u16] = &[429];

impl Operation {
    const fn read(name: &'static str, path: &'static str, params: &'static [Param]) -> Operation {
        Operation {
            name,
            method: Method::Get,
            base: Base::Profitstream,
            path,
            params,
            body: Body::None,
            retried: BUSY,
            repeatable: true,
            needs: Needs::Read,
            empty: "{}",
        }
    }

    /// One that is sent again only when it surely was not done.
    const fn write(
        name: &'static str,
        method: Method,
        path: &'static str,
        body: Body,
        params: &'static [Param],
    ) -> Operation {
        let read = Operation::read(name, path, params);
        Operation { method, body, retried: ONLY_REFUSED, repeatable: false, needs: Needs::Write, ..read }
    }

    /// One that may be done twice.
    const fn repeatable(self, retried: &'static [u16]) -> Operation {
        Operation { retried, repeatable: true, ..self }
    }

    const fn enforcement(
        name: &'static str,
        path: &'static str,
        empty: &'static str,
        params: &'static [Param],
    ) -> Operation {
        let read = Operation::read(name, path, params);
        Operation { base: Base::Enforcement, needs: Needs::Any, empty, ..read }
    }
}

#[rustfmt::skip] // A table is read by its columns.
pub static OPERATIONS: &[Operation] = &[
    Operation::write("jobs.create", Method::Post, "jobs", Body::Object, &[
        body("id", Kind::Text).wire("agenticJobId").required(), body("name", Kind::Text), body("type", Kind::Text),
        body("version", Kind::Text), body("environment", Kind::Text),
    ]).repeatable(BUSY),
    Operation::read("jobs.list", "jobs", &[
        query("type", Kind::Text), query("executionStatus", STATUS), query("outcomeType", OUTCOME),
        query("environment", Kind::Text), query("startDate", Kind::Text), query("endDate", Kind::Text),
        query("page", Kind::Count), query("size", Kind::Count), query("sort", Kind::Text),
    ]),
    Operation::read("jobs.get", "jobs/{id}", &[path("id")]),
    Operation::read("jobs.roi", "jobs/{id}/roi", &[path("id")]),
    Operation::read("jobs.transactions", "jobs/{id}/transactions", &[
        path("id"), query("page", Kind::Count), query("size", Kind::Count), query("sort", Kind::Text),
    ]),
    Operation::read("jobs.types", "jobs/types", &[]),
    Operation::read("jobs.conversion_funnel", "jobs/conversion-funnel", &[
        query("startDate", Kind::Text), query("endDate", Kind::Text), query("type", Kind::Text).wire("jobType"),
        query("environment", Kind::Text),
    ]),
    Operation::write("jobs.report_outcome", Method::Post, "jobs/{id}/outcome", Body::Object, &[
        path("id"), body("executionStatus", STATUS).required(), body("outcomeType", OUTCOME),
        body("outcomeValue", Kind::Number), body("outcomeCurrency", Kind::Currency), body("outcomeReason", REASON),
        body("metadata", Kind::JsonText), body("reportedBy", Kind::Text), body("metrics", Kind::Metrics),
    ]).repeatable(BUSY_OR_LATE),
    Operation::write("jobs.amend_outcome", Method::Patch, "jobs/{id}/outcome", Body::Object, &[
        path("id"), body("reason", Kind::Text), body("expectedEntityVersion", Kind::Count),
        body("executionStatus", STATUS), body("outcomeType", OUTCOME), body("outcomeValue", Kind::Number),
        body("outcomeCurrency", Kind::Currency), body("outcomeReason", REASON), body("metadata", Kind::JsonText),
        body("reportedBy", Kind::Text), body("metrics", Kind::Metrics),
    ]),
    Operation::write("jobs.append_metrics", Method::Post, "jobs/{id}/outcome/metrics", Body::Just("metrics"), &[
        path("id"), body("metrics", Kind::Metrics).required(),
    ]),
    Operation::read("jobs.outcome_history", "jobs/{id}/outcome/history", &[path("id")]),
    Operation::read("economics.get", "jobs/types/{type}/economics", &[path("type")]),
    Operation::write("economics.put", Method::Put, "jobs/types/{type}/economics", Body::Just("economics"), &[
        path("type"), body("economics", Kind::Object).required(),
    ]).repeatable(BUSY),
    Operation::read("economics.baselines", "jobs/types/{type}/baselines", &[path("type")]),
    Operation::write("economics.add_baseline", Method::Post, "jobs/types/{type}/baselines", Body::Object, &[
        path("type"), body("effectiveFrom", Kind::Text).required(), body("costPerUnit", Kind::Number).required(),
        body("currency", Kind::Currency),
    ]),
    Operation::write("economics.add_facts", Method::Post, "jobs/types/{type}/facts", Body::Just("facts"), &[
        path("type"), body("facts", Kind::Objects).required(),
    ]),
    Operation::enforcement("budgets.list", "", r#"{"rules":[]}"#, &[
        query("ruleId", Kind::Text), query("include", Kind::Word(&["advisory"])),
    ]),
    Operation::enforcement("budgets.roster", "/roster", r#"{"rows":[]}"#, &[
        query("ruleId", Kind::Text).required(), query("page", Kind::Count), query("size", Kind::Count),
        query("search", Kind::Text), query("band", Kind::Text),
    ]),
    Operation::read("completions.cost", "sources/metrics/ai/completions", &[
        query("transactionId", Kind::Text).required(),
    ]),
];

/// The team of a tenant; not for callers.
pub static TEAMS: Operation = Operation::read("teams.list", "teams", &[query("tenantId", Kind::Text)]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_says_where_its_parameters_go() {
        for row in OPERATIONS {
            let in_path: Vec<_> = row.params.iter().filter(|param| param.place == Place::Path).collect();
            assert_eq!(row.path.matches('{').count(), in_path.len(), "{}", row.name);
            for param in in_path {
                assert!(row.path.contains(&format!("{{{}}}", param.name)), "{} {}", row.name, param.name);
            }
            let has_body = row.params.iter().any(|param| param.place == Place::Body);
            assert_eq!(has_body, row.body != Body::None, "{}", row.name);
            assert_eq!(has_body, row.method != Method::Get, "{}", row.name);
            if let Body::Just(name) = row.body {
                assert!(row.params.iter().any(|param| param.name == name && param.required), "{}", row.name);
            }
            assert!(serde_json::from_str::<serde_json::Value>(row.empty).is_ok(), "{}", row.name);
        }
        let names: std::collections::HashSet<_> = OPERATIONS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), OPERATIONS.len());
    }
}
