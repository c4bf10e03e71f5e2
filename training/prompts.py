"""Chat prompts for the teacher: templates x Wikipedia titles and passages, plus public instruction seeds."""
import json
import re

SYSTEM = '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n'
OTHER_SYSTEM = [
    'You are a helpful assistant.',
    'You are a concise assistant. Answer briefly.',
    'You are a friendly tutor.',
    'You are a creative writer.',
    'Answer in plain language.',
    'You are an expert programmer.',
]

SLOTS = {
    'job': 'teacher,nurse,software developer,chef,gardener,lawyer,small business owner,student,parent,pilot,writer,musician,carpenter,accountant,photographer,retired engineer,barista,marketing manager,farmer,coach',
    'feel': 'happy,sad,anxious,proud,lonely,excited,tired,grateful,confused,hopeful,nervous,bored',
    'thing': 'a lost key,an old clock,a talking cat,a broken robot,a lighthouse,a small village,a dragon,a birthday party,a train journey,the first snow,a secret garden,a rainy day,a magic book,a new neighbor,a space station,a forgotten song,the ocean,a brave mouse,a bakery,a long road,a lost dog,the moon,a grandmother,two brothers,a wooden boat',
    'lang': 'French,Spanish,German,Italian',
    'code': 'reverses a string,checks if a number is prime,sorts a list,counts the words in a text,computes the factorial of a number,finds the largest item in a list,reads a CSV file,removes duplicates from a list,merges two dictionaries,computes the Fibonacci sequence,checks for a palindrome,converts Celsius to Fahrenheit,searches a sorted list,flattens a nested list,counts vowels,parses a date,sums the even numbers in a list,adds two matrices,finds common items in two lists,rolls two dice,validates an email address,computes an average,writes lines to a file,implements a stack',
    'skill': 'save money,sleep better,learn to cook,start running,write a resume,prepare for an interview,learn a new language,stay focused,grow tomatoes,clean a kitchen,make friends,plan a trip,study for an exam,reduce stress,train a puppy,fix a bike,write a cover letter,eat healthier,be more productive,drink more water,give a speech,build a habit,read more books,pack a suitcase,make coffee,bake bread,paint a room,set up a budget,calm down,stop procrastinating,take better photos,learn the guitar',
    'item': 'apples,books,pencils,cookies,tickets,marbles,bottles,cards,eggs,coins',
    'name': 'Anna,Tom,Maria,Ben,Lucy,Sam,Priya,Omar,Julia,Kenji',
    'food': 'rice,chicken,eggs,potatoes,lentils,pasta,mushrooms,salmon,tofu,beans',
    'country': 'France,Japan,Brazil,Egypt,Canada,India,Kenya,Italy,Norway,Mexico,Australia,Greece,China,Spain,Peru,Germany',
    'science': 'gravity,photosynthesis,evolution,electricity,the water cycle,black holes,vaccines,DNA,plate tectonics,climate change,the immune system,atoms,sound waves,magnets,the seasons,stars,volcanoes,bacteria,the heart,digestion,rainbows,tides,friction,inflation,supply and demand,democracy,the internet,machine learning,encryption,databases',
}

# t, u: Wikipedia titles; the other names are keys of SLOTS; n, m: integers.
QUESTIONS = '''What is {t}?|Tell me about {t}.|Explain {t} in simple terms.|Give me three interesting facts about {t}.|Who or what is {t}, and why does it matter?|Write a short paragraph about {t}.|What should a beginner know about {t}?|Write a short poem about {t}.|How would you explain {t} to a child?|List the main points about {t}.|Why is {t} important?|What is the history of {t}?|Compare {t} and {u}.|What is the difference between {t} and {u}?|Write a quiz question about {t} with four options.|Give me a one sentence definition of {t}.|Can you help me understand {t}?|I have to give a talk on {t}. Give me an outline.|What are the pros and cons of {t}?|Describe {t} briefly.|What are common misconceptions about {t}?|How is {t} related to {u}?|Write a blog introduction about {t}.
Write a short story about {thing}.|Write a poem about {thing}.|Tell me a joke about {thing}.|Write the opening of a novel about {thing} and {thing2}.|Write a dialogue between two friends about {thing}.|Describe {thing} in a few vivid sentences.|Write a haiku about {thing}.|What would happen if {thing} met {thing2}?|Write a product description for {thing}.|Write a bedtime story about {thing} in under 150 words.|Give me ideas for {thing}.
I feel {feel} today. Any advice?|Why do people feel {feel}?|How can I {skill}?|Give me five tips to {skill}.|What is the best way to {skill}?|Make a step by step plan to {skill}.|I am a {job} and I want to {skill}. What should I do?|List ten ways to {skill}.|Give me three quick ways to {skill}, as bullet points.|Is it hard to {skill}?|My friend wants to {skill}. What would you tell them?|Write a checklist to {skill}.
Write an email from a {job} asking for a day off.|Write a polite email to a {job}.|What does a {job} do every day?|Write a short bio for a {job}.|Suggest a name for a shop run by a {job}.|Plan a weekend for a {job}.|Write a thank you note to a {job}.|What skills does a {job} need?
Write a Python function that {code}.|How do I write code that {code}?|Write a JavaScript function that {code}.|Explain how a program that {code} works.|Write a C program that {code}.|Write a Python script that {code} and explain each line.|What is the time complexity of a function that {code}?|Fix my code, it should be one that {code} but it gives an error.|How do I write a SQL query?|What is a loop in Python?|Show me an example of a class in Python.
{name} has {n} {item} and buys {m} more. How many {item} does {name} have now?|{name} has {n} {item} and gives {m} to {name2}. How many are left?|If one box holds {m} {item}, how many do {n} boxes hold?|What is {n} + {m}?|What is {n} times {m}?|What is {n} - {m}?|Solve for x: x + {m} = {n}.|What is {m} percent of {n}?|A train travels {n} miles in {m} hours. What is its speed?|Is {n} a prime number?|Count from {m} to {n}.|Which is larger, {n} or {m}?
How do you say "good morning" in {lang}?|Translate to {lang}: I would like to {skill}.|How do you say "thank you" in {lang}?|Hello!|Hi, how are you?|Who are you?|What can you do?|Thanks for your help!|Can you recommend a book about {thing}?|What should I cook tonight with {food}?|Give me a recipe with {food} and {food2}.|Which is better: {t} or {u}?|How long does it take to cook {food}?|What is healthier, {food} or {food2}?
What is the capital of {country}?|What should I see in {country}?|Tell me about the food in {country}.|Plan three days in {country}.|What language do people speak in {country}?|Name five cities in {country}.|Explain {science}.|How does {science} work?|Explain {science} to a ten year old.|Why does {science} matter?|What is {science}? Answer in two sentences.|Write a summary of {science} for a {job}.|Give an example of {science}.|What are the main parts of {science}?|Give me a list of key terms about {science}.|Ask me three questions about {science}.|True or false: {science} is not real. Explain.'''.replace('\n', '|').split('|')

PASSAGE = [
    'Summarize the following text:\n\n{p}',
    'Rewrite this in simpler words:\n\n{p}',
    '{p}\n\nWhat is the main idea of this passage?',
    'List the key facts from this text:\n\n{p}',
    'Write three questions about this text:\n\n{p}',
    '{p}\n\nWrite a title for this.',
    'Continue this text:\n\n{p}',
    'Read this and answer in one sentence what it is about:\n\n{p}',
    'Extract the names and dates from this text:\n\n{p}',
]
FOLLOW_UP = '''Can you make it shorter?|Tell me more.|Why?|Give me another example.|Continue.|Can you explain that in simpler words?|Are you sure?|Thanks! What else should I know?|Rewrite that as a list.|Can you summarize that in one sentence?|What do you mean?|How does that work?|Make it funnier.|And what about the disadvantages?|Give me three more.|Which one would you choose?|Translate that to French.|Can you add more detail?|Is that always true?|Where should I start?|OK.|Great, thank you!|I don't understand. Can you try again?|Write it as an email.|What is the most important point?'''.split('|')


def instruction_seeds(dolly, seed_tasks, user_tasks):
    """Instructions (without answers) of dolly_hhrlhf_train_small.jsonl and of self-instruct's two hand-written files."""
    out = [re.search(r'### Instruction:\n(.*?)\n\n### Response', json.loads(l)['prompt'], re.S).group(1) for l in open(dolly)]
    for path in (seed_tasks, user_tasks):
        for line in open(path):
            r = json.loads(line)
            for i in r['instances'][:1]:
                out.append(r['instruction'] + ('\n\n' + i['input'] if i['input'] else ''))
    return out


class Prompts:
    """rng: random.Random; titles, passages: lists of strings from Wikipedia; seeds: instructions."""

    def __init__(self, rng, titles, passages, seeds):
        self.r, self.titles, self.passages, self.seeds = rng, titles, passages, seeds
        self.slots = {k: v.split(',') for k, v in SLOTS.items()}

    def fill(self, template):
        r = self.r
        g = {k: r.choice(v) for k, v in self.slots.items()}
        g.update(
            t=r.choice(self.titles), u=r.choice(self.titles), thing2=r.choice(self.slots['thing']),
            food2=r.choice(self.slots['food']), name2=r.choice(self.slots['name']), n=r.randint(2, 99), m=r.randint(2, 30),
        )
        return template.format(**g)

    def question(self):
        r, x = self.r, self.r.random()
        if x < 0.66:
            q = self.fill(r.choice(QUESTIONS))
        elif x < 0.78:
            q = r.choice(PASSAGE).format(p=r.choice(self.passages))
        else:
            q = r.choice(self.seeds)[:1200]
        return q.lower().rstrip('?.!') if r.random() < 0.08 else q

    @staticmethod
    def turn(q):
        return f'<|im_start|>user\n{q}<|im_end|>\n<|im_start|>assistant\n'

    def first(self):
        """What a sampled row starts with: mostly a chat, some free text."""
        x, y = self.r.random(), self.r.random()
        if x < 0.84:
            s = SYSTEM if y < 0.75 else '' if y < 0.85 else f'<|im_start|>system\n{self.r.choice(OTHER_SYSTEM)}<|im_end|>\n'
            return s + self.turn(self.question())
        if x < 0.90:
            return '<|endoftext|>'
        p = self.r.choice(self.passages).split(' ')
        return '<|endoftext|>' + ' '.join(p[: self.r.randint(1, 24)])

    def follow_up(self):
        """What the user says after a finished reply: half refer to it, half change the subject."""
        return '\n' + self.turn(self.r.choice(FOLLOW_UP) if self.r.random() < 0.5 else self.question())
