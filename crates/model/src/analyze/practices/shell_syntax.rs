//! A shell script as commands: the part of the shell's grammar (POSIX, 2.10) that scripts around a Job's command use.
//! `shell` reads it.

use std::iter::Peekable;
use std::str::Chars;

/// Commands between `&&` and `||`.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) first: Command,
    /// Whether after `&&`, and the command.
    pub(super) rest: Vec<(bool, Command)>,
    /// Ended by `&`.
    pub(super) background: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Command {
    /// Words without their quotes and redirections.
    Simple(Vec<String>),
    Group(Vec<Item>),
    Subshell(Vec<Item>),
    Pipe(Vec<Command>),
    Not(Box<Command>),
    If(Vec<(Vec<Item>, Vec<Item>)>, Option<Vec<Item>>),
    /// `while` and `until` alike.
    Loop {
        condition: Vec<Item>,
        body: Vec<Item>,
    },
    For(Vec<Item>),
    Function(String, Box<Command>),
}

/// None: the script uses more than this knows, or is wrong.
pub(super) fn parse(script: &str) -> Option<Vec<Item>> {
    let tokens = Lexer { rest: script.chars().peekable(), tokens: Vec::new() }.tokens()?;
    let mut parser = Parser { tokens: &tokens, depth: 0 };
    let list = parser.list(&[])?;
    parser.tokens.is_empty().then_some(list)
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// `quoted`: no keyword.
    Word { text: String, quoted: bool },
    /// `;`, `&`, `&&`, `|`, `||`, `(`, `)`; a line's end is a `;`.
    Operator(&'static str),
}

struct Lexer<'s> {
    rest: Peekable<Chars<'s>>,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    fn tokens(mut self) -> Option<Vec<Token>> {
        while let Some(&next) = self.rest.peek() {
            match next {
                ' ' | '\t' | '\r' => drop(self.rest.next()),
                '#' => while self.rest.next_if(|next| *next != '\n').is_some() {},
                '\n' => self.operator(";"),
                ';' => self.operator(";"),
                '(' => self.operator("("),
                ')' => self.operator(")"),
                '&' | '|' => {
                    self.rest.next();
                    let twice = self.rest.next_if_eq(&next).is_some();
                    if next == '&' && !twice && self.rest.peek() == Some(&'>') {
                        continue;
                    }
                    let (one, two) = if next == '&' { ("&", "&&") } else { ("|", "||") };
                    self.tokens.push(Token::Operator(if twice { two } else { one }));
                }
                '<' | '>' => self.redirection()?,
                _ => {
                    let (text, quoted) = self.word()?;
                    let is_descriptor = !quoted && text.bytes().all(|byte| byte.is_ascii_digit());
                    let redirects = matches!(self.rest.peek(), Some('<' | '>'));
                    let is_word = quoted || !text.is_empty();
                    if is_word && !(is_descriptor && redirects) {
                        self.tokens.push(Token::Word { text, quoted });
                    }
                }
            }
        }
        Some(self.tokens)
    }

    fn operator(&mut self, operator: &'static str) {
        self.rest.next();
        self.tokens.push(Token::Operator(operator));
    }

    /// Where it leads is of no interest; a here document is beyond this.
    fn redirection(&mut self) -> Option<()> {
        let first = self.rest.next()?;
        if first == '<' && self.rest.peek() == Some(&'<') {
            return None;
        }
        while self.rest.next_if(|next| matches!(next, '<' | '>' | '&' | '|')).is_some() {}
        if self.rest.peek() == Some(&'(') {
            return None;
        }
        while self.rest.next_if(|next| matches!(next, ' ' | '\t')).is_some() {}
        self.word().map(drop)
    }

    /// The word's text, and whether a part of it was quoted.
    fn word(&mut self) -> Option<(String, bool)> {
        let (mut text, mut quoted) = (String::new(), false);
        while let Some(&next) = self.rest.peek() {
            match next {
                ' ' | '\t' | '\r' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>' => break,
                '\'' => {
                    quoted = true;
                    self.rest.next();
                    loop {
                        match self.rest.next()? {
                            '\'' => break,
                            inner => text.push(inner),
                        }
                    }
                }
                '"' => {
                    quoted = true;
                    self.rest.next();
                    loop {
                        match self.rest.next()? {
                            '"' => break,
                            '\\' => text.push(self.rest.next()?),
                            '$' => self.dollar(&mut text)?,
                            inner => text.push(inner),
                        }
                    }
                }
                '\\' => {
                    self.rest.next();
                    match self.rest.next() {
                        Some('\n') | None => {}
                        Some(escaped) => {
                            quoted = true;
                            text.push(escaped);
                        }
                    }
                }
                '$' => {
                    self.rest.next();
                    self.dollar(&mut text)?;
                }
                '`' => {
                    text.push('`');
                    self.rest.next();
                    loop {
                        let inner = self.rest.next()?;
                        text.push(inner);
                        if inner == '`' {
                            break;
                        }
                    }
                }
                _ => text.extend(self.rest.next()),
            }
        }
        Some((text, quoted))
    }

    /// `$(...)` and `${...}` are part of a word, whatever is in them.
    fn dollar(&mut self, text: &mut String) -> Option<()> {
        text.push('$');
        let (open, close) = match self.rest.peek() {
            Some('(') => ('(', ')'),
            Some('{') => ('{', '}'),
            _ => return Some(()),
        };
        let mut depth = 0;
        loop {
            let next = self.rest.next()?;
            text.push(next);
            depth += i32::from(next == open) - i32::from(next == close);
            if depth == 0 {
                return Some(());
            }
        }
    }
}

struct Parser<'t> {
    tokens: &'t [Token],
    depth: usize,
}

const DEPTH: usize = 100;

impl Parser<'_> {
    fn keyword(&self) -> Option<&str> {
        match self.tokens.first()? {
            Token::Word { text, quoted: false } => Some(text),
            _ => None,
        }
    }

    fn take_keyword(&mut self, wanted: &str) -> Option<()> {
        let is_it = self.keyword() == Some(wanted);
        is_it.then(|| self.tokens = &self.tokens[1..])
    }

    fn take_operator(&mut self, wanted: &str) -> bool {
        let is_it = matches!(self.tokens.first(), Some(Token::Operator(operator)) if *operator == wanted);
        if is_it {
            self.tokens = &self.tokens[1..];
        }
        is_it
    }

    /// Up to one of these keywords, a `)` or the end.
    fn list(&mut self, until: &[&str]) -> Option<Vec<Item>> {
        let mut list = Vec::new();
        loop {
            while self.take_operator(";") {}
            let closes = matches!(self.tokens.first(), None | Some(Token::Operator(")")));
            if closes || self.keyword().is_some_and(|word| until.contains(&word)) {
                return Some(list);
            }
            list.push(self.item()?);
        }
    }

    fn item(&mut self) -> Option<Item> {
        let first = self.pipe()?;
        let mut rest = Vec::new();
        loop {
            let and = self.take_operator("&&");
            if !and && !self.take_operator("||") {
                break;
            }
            while self.take_operator(";") {}
            rest.push((and, self.pipe()?));
        }
        let background = self.take_operator("&");
        let ends = matches!(self.tokens.first(), None | Some(Token::Operator(";" | ")")));
        (background || ends).then_some(Item { first, rest, background })
    }

    fn pipe(&mut self) -> Option<Command> {
        self.depth += 1;
        let pipe = if self.depth > DEPTH { None } else { self.pipe_within() };
        self.depth -= 1;
        pipe
    }

    fn pipe_within(&mut self) -> Option<Command> {
        if self.take_keyword("!").is_some() {
            return Some(Command::Not(Box::new(self.pipe()?)));
        }
        let mut parts = vec![self.command()?];
        while self.take_operator("|") {
            while self.take_operator(";") {}
            parts.push(self.command()?);
        }
        if parts.len() == 1 { parts.pop() } else { Some(Command::Pipe(parts)) }
    }

    fn command(&mut self) -> Option<Command> {
        if self.take_operator("(") {
            let list = self.list(&[])?;
            return self.take_operator(")").then_some(Command::Subshell(list));
        }
        match self.keyword().unwrap_or_default() {
            "{" => {
                self.take_keyword("{")?;
                let list = self.list(&["}"])?;
                self.take_keyword("}")?;
                Some(Command::Group(list))
            }
            "if" => self.conditional(),
            "while" | "until" => {
                self.tokens = &self.tokens[1..];
                let condition = self.list(&["do"])?;
                Some(Command::Loop { condition, body: self.body()? })
            }
            "for" => {
                while self.keyword() != Some("do") {
                    self.tokens = self.tokens.get(1..)?;
                }
                Some(Command::For(self.body()?))
            }
            "case" | "select" | "[[" | "then" | "elif" | "else" | "fi" | "do" | "done" | "esac" | "}" => None,
            "function" => {
                self.take_keyword("function")?;
                self.simple_or_function(true)
            }
            _ => self.simple_or_function(false),
        }
    }

    fn body(&mut self) -> Option<Vec<Item>> {
        self.take_keyword("do")?;
        let body = self.list(&["done"])?;
        self.take_keyword("done")?;
        Some(body)
    }

    fn conditional(&mut self) -> Option<Command> {
        let mut branches = Vec::new();
        // `if`, then each `elif`.
        while self.keyword().is_some_and(|word| word == "if" || word == "elif") {
            self.tokens = &self.tokens[1..];
            let condition = self.list(&["then"])?;
            self.take_keyword("then")?;
            branches.push((condition, self.list(&["elif", "else", "fi"])?));
        }
        let otherwise = match self.take_keyword("else") {
            Some(()) => Some(self.list(&["fi"])?),
            None => None,
        };
        self.take_keyword("fi")?;
        Some(Command::If(branches, otherwise))
    }

    fn simple_or_function(&mut self, is_function: bool) -> Option<Command> {
        let mut words = Vec::new();
        while let Some(Token::Word { text, .. }) = self.tokens.first() {
            words.push(text.clone());
            self.tokens = &self.tokens[1..];
            let opens = matches!(self.tokens.first(), Some(Token::Operator("(")));
            if words.len() == 1 && (opens || is_function) {
                if opens && !(self.take_operator("(") && self.take_operator(")")) {
                    return None;
                }
                while self.take_operator(";") {}
                return Some(Command::Function(words.remove(0), Box::new(self.pipe()?)));
            }
        }
        Some(Command::Simple(words)).filter(|command| !matches!(command, Command::Simple(words) if words.is_empty()))
    }
}
